"""Reading the runtime's log format: parts of lines, times, tails, limits, following."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node import logs
from agents.node.inotify import Inotify
from agents.node.log_format import Entry, LogText, nanoseconds, nanoseconds_of, parse_line
from agents.node.logs import LogOptions, follow_log, read_log, tail_offset

TIME = b"2026-11-22T18:00:0%d.123456789Z"


def line(content: str, *, second: int = 0, stream: str = "stdout", tag: str = "F") -> bytes:
    return TIME % second + f" {stream} {tag} {content}\n".encode()


@pytest.mark.parametrize(
    ("raw", "entry"),
    [
        (b"T stdout F hello world", Entry(b"T", b"stdout", False, b"hello world")),
        (b"T stderr P part", Entry(b"T", b"stderr", True, b"part")),
        (b"T stdout P:more part", Entry(b"T", b"stdout", True, b"part")),
        (b"T stdout F ", Entry(b"T", b"stdout", False, b"")),
        (b"T stdout F", None),
        (b"T stdin F x", None),
        (b"", None),
        (b"\x00\x00\x00", None),
    ],
)
def test_lines(raw: bytes, entry: Entry | None) -> None:
    assert parse_line(raw) == entry


@pytest.mark.parametrize(
    ("timestamp", "value"),
    [
        (b"1970-01-01T00:00:01Z", 10**9),
        (b"1970-01-01T00:00:01.5Z", 1_500_000_000),
        (b"1970-01-01T00:00:00.000000001Z", 1),
        (b"1970-01-01T01:00:00+01:00", 0),
        (b"yesterday", None),
    ],
)
def test_times(timestamp: bytes, value: int | None) -> None:
    assert nanoseconds(timestamp) == value


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))
def test_times_agree_with_the_standard_library(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert nanoseconds(aware.isoformat().replace("+00:00", "Z").encode()) == nanoseconds_of(aware)


SOME = (
    line("one")
    + line("two", second=1, stream="stderr")
    + line("thr", second=2, tag="P")
    + line("four", second=3, stream="stderr")
    + line("ee", second=4)
    + b"torn by a crash\n"
    + line("five", second=5)
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (LogText(), "one\ntwo\nfour\nthree\nfive\n"),
        (LogText(since=nanoseconds(TIME % 3) or 0), "four\nee\nfive\n"),
        (LogText(since=nanoseconds(TIME % 9) or 0), ""),
        (LogText(limit=6), "one\ntw"),
        (LogText(limit=0), ""),
        (LogText(limit=10_000), "one\ntwo\nfour\nthree\nfive\n"),
    ],
)
def test_what_a_reader_gets(text: LogText, shown: str) -> None:
    assert (text.feed(SOME) + text.finish()).decode() == shown


def test_timestamps_are_those_of_the_first_part() -> None:
    text = LogText(timestamps=True)
    shown = text.feed(line("thr", second=2, tag="P") + line("ee", second=4))
    assert shown == TIME % 2 + b" three\n"


def test_a_line_that_was_never_ended_is_shown_at_the_end() -> None:
    text = LogText()
    assert text.feed(line("half", tag="P")) == b""
    assert text.finish() == b"half"


def test_a_line_without_end_comes_in_bounded_pieces() -> None:
    text = LogText()
    part = line("x" * 16384, tag="P")
    sizes = [len(text.feed(part)) for _ in range(64)]
    assert max(sizes) <= 256 << 10
    assert sum(sizes) == 64 * 16384


_ENTRIES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("FFFP"), st.text("ab \n", max_size=5)), max_size=30
)


@given(entries=_ENTRIES, cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_pieces_of_any_size_give_the_same_text(entries: list[tuple[str, str, str]], cuts: list[int]) -> None:
    raw = b"".join(line(content.replace("\n", ""), stream=stream, tag=tag) for stream, tag, content in entries)
    whole = LogText()
    expected = whole.feed(raw) + whole.finish()
    text = LogText()
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    shown = b"".join(text.feed(raw[a:b]) for a, b in itertools.pairwise(edges))
    assert shown + text.finish() == expected


@pytest.fixture(params=[7, 64, 64 << 10])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks smaller than a line, about one, and far larger."""
    monkeypatch.setattr(logs, "_PIECE", request.param)
    return int(request.param)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 10, 11, 1000])
def test_tails_are_the_last_lines(tmp_path: Path, piece: int, count: int) -> None:
    content = [line(f"line {i}") if i % 3 else line("par", tag="P") + line(f"t {i}") for i in range(10)]
    file = tmp_path / "0.log"
    file.write_bytes(b"".join(content))
    descriptor = os.open(file, os.O_RDONLY)
    try:
        wanted = b"".join(content[-count:]) if count else b""
        assert os.pread(descriptor, 1 << 20, tail_offset(descriptor, count)) == wanted
    finally:
        os.close(descriptor)


def test_the_tail_of_a_huge_file_is_found_without_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "0.log"
    with file.open("wb") as stream:
        # A hole of a terabyte: reading it would take longer than any test may.
        stream.truncate(1 << 40)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" + line("one") + line("two"))
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert os.pread(descriptor, 1 << 20, tail_offset(descriptor, 1)) == line("two")
    finally:
        os.close(descriptor)


async def gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_reading(tmp_path: Path, piece: int) -> None:
    file = tmp_path / "0.log"
    file.write_bytes(SOME)
    assert await gathered(read_log(file, LogOptions())) == b"one\ntwo\nfour\nthree\nfive\n"
    assert await gathered(read_log(file, LogOptions(tail_lines=1))) == b"five\n"
    assert await gathered(read_log(file, LogOptions(limit_bytes=5))) == b"one\nt"
    with pytest.raises(FileNotFoundError):
        await gathered(read_log(tmp_path / "1.log", LogOptions()))


@pytest.fixture
async def inotify() -> AsyncIterator[Inotify]:
    made = Inotify()
    yield made
    made.close()


class Follower:
    """Follows a file in a task; gives what it has seen."""

    def __init__(self, file: Path, inotify: Inotify, options: LogOptions | None = None) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chunks = aiter(follow_log(file, options or LogOptions(), inotify, self.ended))

    async def next(self) -> bytes:
        return await asyncio.wait_for(anext(self._chunks), 10)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(gathered(self._chunks), 10)


async def test_following_shows_what_is_added_until_the_end(tmp_path: Path, inotify: Inotify) -> None:
    file = tmp_path / "0.log"
    file.write_bytes(line("one"))
    follower = Follower(file, inotify)
    assert await follower.next() == b"one\n"
    with file.open("ab", buffering=0) as stream:
        waiting = asyncio.ensure_future(follower.next())
        stream.write(line("two"))
        assert await waiting == b"two\n"
        # Written before the end, read after it.
        stream.write(line("three") + line("rest", tag="P"))
        follower.ended.set_result(None)
    assert await follower.rest() == b"three\nrest"


async def test_following_takes_the_new_file_after_a_rotation(tmp_path: Path, inotify: Inotify) -> None:
    file = tmp_path / "0.log"
    file.write_bytes(line("one"))
    follower = Follower(file, inotify)
    assert await follower.next() == b"one\n"
    with file.open("ab", buffering=0) as old:
        file.rename(tmp_path / "0.log.1")
        old.write(line("two"))
    assert await follower.next() == b"two\n"
    file.write_bytes(line("three"))
    assert await follower.next() == b"three\n"
    follower.ended.set_result(None)
    assert await follower.rest() == b""


async def test_following_stops_at_the_limit(tmp_path: Path, inotify: Inotify) -> None:
    file = tmp_path / "0.log"
    file.write_bytes(line("one"))
    follower = Follower(file, inotify, LogOptions(limit_bytes=3))
    assert await follower.rest() == b"one"


async def test_several_wait_for_one_directory(tmp_path: Path, inotify: Inotify) -> None:
    with inotify.watch(tmp_path) as first:
        with inotify.watch(tmp_path) as second:
            (tmp_path / "x").touch()
            await asyncio.wait_for(asyncio.gather(first.wait(), second.wait()), 10)
            first.clear()
        # One that leaves takes nothing from the other.
        (tmp_path / "y").touch()
        await asyncio.wait_for(first.wait(), 10)
    with pytest.raises(FileNotFoundError), inotify.watch(tmp_path / "absent"):
        pass


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
