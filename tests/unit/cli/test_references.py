"""What people type to name objects."""

from __future__ import annotations

import pytest

from cli.failure import Failure
from cli.references import read_named, read_references
from orchestrator.api.errors import UnknownKind

ALL = [
    "pods",
    "services",
    "replicasets.apps",
    "deployments.apps",
    "replicationcontrollers",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
    "horizontalpodautoscalers.autoscaling",
]


def shown(words: tuple[str, ...]) -> list[str]:
    return [f"{each.kind.resource}{'' if each.name is None else '/' + each.name}" for each in read_references(words)]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("pods",), ["pods"]),
        (("po", "a"), ["pods/a"]),
        (("pod", "a", "b"), ["pods/a", "pods/b"]),
        (("pod/a", "deploy/b"), ["pods/a", "deployments.apps/b"]),
        (("po,svc",), ["pods", "services"]),
        (("po,svc", "a", "b"), ["pods/a", "pods/b", "services/a", "services/b"]),
        (("deployments.apps", "a"), ["deployments.apps/a"]),
        (("Deployment/a",), ["deployments.apps/a"]),
        (("all",), ALL),
        (("cm,all",), ["configmaps", *ALL]),
    ],
)
def test_references(words: tuple[str, ...], meant: list[str]) -> None:
    assert shown(words) == meant


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "name a resource"),
        (("pod/a", "b"), '"b" has no type'),
        (("pod", "svc/b"), '"pod" has no type'),
        (("pod/",), '"pod/" is not TYPE/NAME'),
        (("/a",), '"/a" is not TYPE/NAME'),
        (("a/b/c",), '"a/b/c" is not TYPE/NAME'),
        (("pod,svc/a",), "a resource type"),
    ],
)
def test_words_that_do_not_fit_together(words: tuple[str, ...], said: str) -> None:
    with pytest.raises((Failure, UnknownKind)) as caught:
        read_references(words)
    assert said in str(caught.value)


@pytest.mark.parametrize("word", ["podz", "", "pods,", ",", "deployments.batch", "pods services"])
def test_types_there_are_not(word: str) -> None:
    with pytest.raises((Failure, UnknownKind)):
        read_references([word])


def test_names_are_required() -> None:
    assert [each.name for each in read_named(["pod", "a"])] == ["a"]
    with pytest.raises(Failure, match="resource name may not be empty: say which, as in pod/NAME"):
        read_named(["pods"])
