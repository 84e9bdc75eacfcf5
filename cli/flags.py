"""Flags as kubectl's users type them, where click has another habit.

kubectl takes a short flag's value after an equals sign (`-o=yaml`), and a value for switches (`--wait=false`). A
`Command` rewrites such arguments before click reads them.
"""

from __future__ import annotations

import difflib
import re

import click

from cli.failure import Failure

_SHORT = re.compile(r"(-[A-Za-z])=(.*)", re.DOTALL)
_TRUE = ("true", "t", "1")
_FALSE = ("false", "f", "0")


class Command(click.Command):
    """A click command with those habits, that says where help is when it is called wrongly."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._rewritten(args))

    def _rewritten(self, args: list[str]) -> list[str]:
        switches = {name: each for each in self.params if isinstance(each, click.Option) for name in each.opts}
        written: list[str] = []
        for position, argument in enumerate(args):
            if argument == "--":
                return written + args[position:]
            name, _, value = argument.partition("=")
            switch = switches.get(name)
            if switch is not None and switch.is_flag and value.lower() in _TRUE:
                written.append(name)
            elif switch is not None and switch.is_flag and value.lower() in _FALSE:
                written += switch.secondary_opts[:1]
            elif short := _SHORT.fullmatch(argument):
                written += short.groups()
            else:
                written.append(argument)
        return written


class Group(click.Group):
    """A group of such commands, that says which one was probably meant."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            raise Failure(f'unknown command "{name}"{hint}: see {ctx.command_path} --help')
        return super().resolve_command(ctx, args)
