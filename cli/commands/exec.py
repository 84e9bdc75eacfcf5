"""`navctl exec`: a command in a running container, with this terminal as its own if wanted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty as terminal
from collections.abc import Iterator

import click

from cli.failure import Failure
from cli.flags import Command
from cli.pods import containers_of, one_pod
from cli.target import Target, target_options
from orchestrator.client import Channel, Client, ExecSession

PIECE = 32 << 10


@click.command("exec", cls=Command)
@target_options
@click.argument("pod")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("-c", "--container", default="", help="The container, when the pod has several.")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input to the command.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.option("-q", "--quiet", is_flag=True, help="Only the command's own output.")
def exec_(
    target: Target, pod: str, command: tuple[str, ...], container: str, stdin: bool, tty: bool, quiet: bool
) -> int:
    """Run a command in a container: navctl exec -it web-5d7 -- sh."""
    if not command:
        raise Failure("you must specify at least one command for the container: navctl exec POD -- COMMAND")
    if tty and not (stdin and sys.stdin.isatty()):
        tty = False
        if not quiet:
            click.echo("Unable to use a TTY - input is not a terminal or the right kind of file", err=True)

    async def work(client: Client, namespace: str) -> int:
        found = await one_pod(client, namespace, pod)
        name = containers_of(found, container)[0]
        session = client.exec(found.metadata.name, namespace, command, container=name, stdin=stdin, tty=tty)
        with _raw_terminal() if tty else contextlib.nullcontext():
            async with session:
                code = await _converse(session, stdin=stdin, tty=tty)
        if code and not quiet and not tty:
            click.echo(f"command terminated with exit code {code}", err=True)
        return code

    return target.run(work)


async def _converse(session: ExecSession, *, stdin: bool, tty: bool) -> int:
    """Moves bytes both ways until the command ends; returns its exit code."""
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    resized = asyncio.Event()
    if tty:
        resized.set()
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
        tasks.append(asyncio.create_task(_send_sizes(session, resized)))
    if stdin:
        tasks.append(asyncio.create_task(_send_input(session)))
    try:
        async for channel, data in session:
            stream = sys.stdout if channel is Channel.STDOUT else sys.stderr
            stream.buffer.write(data)
            stream.buffer.flush()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tty:
            loop.remove_signal_handler(signal.SIGWINCH)
    return session.exit_code or 0


async def _send_sizes(session: ExecSession, resized: asyncio.Event) -> None:
    while True:
        await resized.wait()
        resized.clear()
        size = os.get_terminal_size(sys.stdin.fileno())
        await session.resize(size.columns, size.lines)


async def _send_input(session: ExecSession) -> None:
    """Standard input, as it comes."""
    descriptor = sys.stdin.fileno()
    while True:
        await _readable(descriptor)
        data = os.read(descriptor, PIECE)
        if not data:
            await session.close_stdin()
            return
        await session.send(data)


async def _readable(descriptor: int) -> None:
    """Returns when a read would not block. The event loop is asked anew each time: what it said before the last read
    is no longer true, and a read that blocks would stop the output too."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except PermissionError:  # epoll does not take regular files: they always are
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Every key goes to the command; the terminal is as it was afterwards."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        terminal.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
