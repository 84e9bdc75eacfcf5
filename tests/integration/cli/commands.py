"""Running `navctl` in tests: as a function in a thread, which is quick, or as a process of its own with real pipes."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from cli.navctl import main

ROOT = Path(__file__).parents[3]
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def rows(self) -> list[list[str]]:
        """The cells of a table."""
        return [line.split() for line in self.lines]


class Navctl:
    """`await navctl("get", "pods")` runs it in a thread; `navctl.process(...)` as a process."""

    async def __call__(self, *arguments: str, stdin: str = "") -> Result:
        return await asyncio.wait_for(asyncio.to_thread(_run, arguments, stdin), PATIENCE)

    async def ok(self, *arguments: str, stdin: str = "") -> str:
        """The output of a command that must succeed and have nothing to complain about."""
        result = await self(*arguments, stdin=stdin)
        assert (result.code, result.err) == (0, ""), result
        return result.out

    async def fails(self, *arguments: str, stdin: str = "", code: int = 1) -> str:
        """The error of a command that must fail and print nothing else."""
        result = await self(*arguments, stdin=stdin)
        assert (result.code, result.out) == (code, ""), result
        return result.err.removesuffix("\n")

    @asynccontextmanager
    async def process(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The command as a process; it is killed if it is still there at the end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "cli.navctl", *arguments),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def line_of(stream: asyncio.StreamReader | None) -> str:
    """The next line of a process's output, without its end."""
    assert stream is not None
    return (await stream.readline()).decode().removesuffix("\n")


def _run(arguments: tuple[str, ...], stdin: str) -> Result:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "stdin", io.StringIO(stdin)):
        code = main(list(arguments))
    texts = [stream.buffer.getvalue().decode() for stream in (out, err) if isinstance(stream.buffer, io.BytesIO)]
    return Result(code, *texts)
