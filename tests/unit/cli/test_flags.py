"""Flags as kubectl's users type them."""

from __future__ import annotations

import click
import pytest

from cli.flags import Command


@click.command(cls=Command)
@click.argument("words", nargs=-1)
@click.option("-o", "--output")
@click.option("-A", "--all", "everything", is_flag=True)
@click.option("--wait/--no-wait", default=True)
def sample(words: tuple[str, ...], output: str | None, everything: bool, wait: bool) -> object:
    return words, output, everything, wait


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ([], ((), None, False, True)),
        (["-o=yaml"], ((), "yaml", False, True)),
        (["-oyaml"], ((), "yaml", False, True)),
        (["--output=a=b"], ((), "a=b", False, True)),
        (["-o="], ((), "", False, True)),
        (["--all=true", "--wait=false"], ((), None, True, False)),
        (["--all=false", "--wait=true"], ((), None, False, True)),
        (["-A=true"], ((), None, True, True)),
        (["--wait", "--all"], ((), None, True, True)),
        (["--wait=false", "--wait=TRUE"], ((), None, False, True)),
        (["a", "-o", "x", "b"], (("a", "b"), "x", False, True)),
        (["a", "--", "-o=yaml", "--wait=false"], (("a", "-o=yaml", "--wait=false"), None, False, True)),
        (["a=b", "x=true"], (("a=b", "x=true"), None, False, True)),
    ],
)
def test_flags(arguments: list[str], read: object) -> None:
    assert sample.main(arguments, standalone_mode=False) == read


@pytest.mark.parametrize("arguments", [["--wait=perhaps"], ["--nope=true"], ["-x=1"], ["-o"]])
def test_wrong_flags(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError):
        sample.main(arguments, standalone_mode=False)
