"""`navctl`: the command line for people, with kubectl's verbs, flags and output.

A command's module is imported when the command is called, so that `navctl get` does not pay for what `navctl up` needs.
All failures end here: one line on standard error that says what to do, and exit code 1.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys

import click

from cli.failure import describe_failure, reader_has_gone
from cli.flags import Group

INTERRUPTED = 130  # what a shell says of a process ended by Ctrl-C

# Command -> the function that is it. Order is that of `navctl --help`.
_COMMANDS = {
    "up": "cli.commands.up:up",
    "down": "cli.commands.down:down",
    "get": "cli.commands.get:get",
    "describe": "cli.commands.describe:describe",
    "apply": "cli.commands.apply:apply",
    "delete": "cli.commands.delete:delete",
    "edit": "cli.commands.edit:edit",
    "logs": "cli.commands.logs:logs",
    "exec": "cli.commands.exec:exec_",
    "scale": "cli.commands.scale:scale",
    "rollout": "cli.commands.rollout:rollout",
    "cordon": "cli.commands.cordon:cordon",
    "uncordon": "cli.commands.cordon:uncordon",
    "image": "cli.commands.image:image",
    "member": "cli.commands.member:member",
    "snapshot": "cli.commands.snapshot:snapshot",
    "store": "cli.commands.store:store",
    "api-resources": "cli.commands.api_resources:api_resources",
    "version": "cli.commands.version:version",
}


class LazyGroup(Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, name = place.split(":")
        # Nothing that an import makes is garbage: looking for some takes a twentieth of the whole command's time.
        gc.disable()
        try:
            command = getattr(importlib.import_module(module), name)
        finally:
            gc.freeze()
            gc.enable()
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="navarch", prog_name="navctl")
def navctl() -> None:
    """Runs containers on a fleet of machines, the Kubernetes way."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code; without `arguments` it is the process's own, and ends the process."""
    code = _run(arguments)
    if arguments is None:
        # Everything is closed and written. Taking an interpreter with gRPC in it apart takes longer than most commands.
        os._exit(code)
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        code = navctl.main(args=arguments, prog_name="navctl", standalone_mode=False)
        sys.stdout.flush()
        sys.stderr.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.stdout.flush()
        return 0
    except click.ClickException as error:
        return _fail(_misused(error))
    except Exception as error:
        if reader_has_gone(error):
            # head or less has what it wanted: that is no failure.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        message = describe_failure(error)
        if message is None:
            raise
        return _fail(message, getattr(error, "exit_code", 1))
    return code if isinstance(code, int) else 0


def _misused(error: click.ClickException) -> str:
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        near = f" (did you mean {error.possibilities[0]}?)" if error.possibilities else ""
        message = f"unknown flag: {error.option_name}{near}"
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"error: {message}" + (f"\nSee '{context.command_path} --help' for usage." if context else "")


def _fail(message: str, code: int = 1) -> int:
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    main()
