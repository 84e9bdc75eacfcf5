"""A container's last words: from its file, from its log, and never more than fits a status."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.node.mounts import termination_message_file
from agents.node.runtime_state import ContainerRecord, State
from agents.node.termination_message import termination_message
from orchestrator.api.v1 import Container

RECORD = ContainerRecord("id", "main", 2, "s", State.EXITED, datetime(2026, 1, 1, tzinfo=UTC), exit_code=1)
FALLBACK = "FallbackToLogsOnError"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = termination_message_file(tmp_path, "main", 2)
    found.parent.mkdir(parents=True)
    return found


def write_log(directory: Path, *lines: str) -> Path:
    log_file = directory / "2.log"
    log_file.write_text("".join(f"2026-11-22T12:00:00.000000000Z stderr F {line}\n" for line in lines))
    return log_file


async def message(directory: Path, *, policy: str = "File", code: int = 1) -> str:
    record = RECORD if code else ContainerRecord("id", "main", 2, "s", State.EXITED, RECORD.created_at)
    container = Container(name="main", termination_message_policy=policy)
    return await termination_message(container, record, directory, directory / "2.log")


async def test_what_the_file_says(tmp_path: Path, file: Path) -> None:
    file.write_text("disk full")
    write_log(tmp_path, "much", "talk")
    assert await message(tmp_path) == "disk full"
    assert await message(tmp_path, policy=FALLBACK) == "disk full"
    assert await message(tmp_path, code=0) == "disk full"


async def test_a_large_file_is_cut(tmp_path: Path, file: Path) -> None:
    file.write_bytes(b"x" * 4095 + "é".encode() + b"y" * 10)
    assert await message(tmp_path) == "x" * 4095 + "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("case", "policy", "code", "expected"),
    [
        ("only when asked for", "File", 1, ""),
        ("only after a failure", FALLBACK, 0, ""),
        ("the end of the log", FALLBACK, 1, "trying\nfailed\n"),
    ],
)
async def test_falling_back_to_the_log(
    tmp_path: Path, file: Path, case: str, policy: str, code: int, expected: str
) -> None:
    file.touch()
    write_log(tmp_path, "trying", "failed")
    assert await message(tmp_path, policy=policy, code=code) == expected, case


async def test_the_log_is_cut_to_lines_and_bytes(tmp_path: Path) -> None:
    write_log(tmp_path, *(f"{number}" for number in range(200)))
    assert (await message(tmp_path, policy=FALLBACK)).split() == [f"{number}" for number in range(120, 200)]
    write_log(tmp_path, *("é" * 100 for _ in range(200)))
    found = await message(tmp_path, policy=FALLBACK)
    assert len(found.encode()) <= 2048
    assert set(found) == {"é", "\n"}
    write_log(tmp_path, "z" * 100_000)
    assert len(await message(tmp_path, policy=FALLBACK)) <= 2048


async def test_nothing_there_is_no_message(tmp_path: Path) -> None:
    assert await message(tmp_path, policy=FALLBACK) == ""


async def test_what_is_no_file_is_not_read(tmp_path: Path, file: Path) -> None:
    os.mkfifo(file)
    assert await message(tmp_path) == ""
    file.unlink()
    secret = tmp_path / "secret"
    secret.write_text("of the node")
    file.symlink_to(secret)
    assert await message(tmp_path) == ""
