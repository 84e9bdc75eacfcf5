"""What PySyncObj does by itself, without anything of ours: each function shows one of its faults.

Run as a program of its own, because importing our engine changes PySyncObj for the whole process:

    python tests/unit/store/plain_pysyncobj.py DIRECTORY

prints one JSON object, the name of each fault and what was seen of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysyncobj.syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.journal import Journal, MemoryJournal, createJournal
from pysyncobj.node import Node
from pysyncobj.transport import Transport


class Outlet(Transport):  # type: ignore[misc]  # PySyncObj has no types
    """A transport that keeps what is said."""

    def __init__(self, engine: SyncObj, own: Node, others: list[Node]) -> None:
        super().__init__(engine, own, others)
        self.said: list[tuple[str, dict[str, Any]]] = []
        engine.outlet = self

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        self.said.append((node.id, message))
        return True

    def destroy(self) -> None:
        """Nothing is open."""


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


class Member(SyncObj):  # type: ignore[misc]
    """One of three, turned by hand."""

    def __init__(self, journal: Journal | None = None, **options: object) -> None:
        pysyncobj.syncobj.monotonicTime = CLOCK
        given = journal or MemoryJournal()
        pysyncobj.syncobj.createJournal = lambda _: given
        super().__init__(
            Node("a"), [Node("b"), Node("c")], SyncObjConf(autoTick=False, **options), transportClass=Outlet
        )
        self.journal = given
        for node in self.otherNodes:
            self._SyncObj__onNodeConnected(node)

    def hear(self, member: str, message: dict[str, Any]) -> None:
        self._SyncObj__onMessageReceived(Node(member), message)

    def lead(self) -> None:
        CLOCK.now += 10
        self.doTick()
        self.hear("b", {"type": "response_vote", "term": self.raftCurrentTerm})
        assert self._isLeader()

    def offer(self, previous: int, *entries: tuple[bytes, int, int], commit: int = 1, **more: object) -> None:
        self.hear(
            "b",
            {"type": "append_entries", "term": 1, "commit_index": commit, "prevLogIdx": previous, "prevLogTerm": 0}
            | {"entries": list(entries)}
            | more,
        )


NO_OP = b"\x01"


def defaults_commit_slowly(directory: Path) -> float:
    """The median time of a command of a lone member, in seconds."""

    class Counter(SyncObj):  # type: ignore[misc]
        @pysyncobj.replicated  # type: ignore[untyped-decorator]
        def add(self) -> int:
            return 1

    member = Counter(f"127.0.0.1:{free_port()}", [])
    while not member.isReady():
        time.sleep(0.01)
    took = []
    for _ in range(7):
        began = time.monotonic()
        member.add(sync=True)
        took.append(time.monotonic() - began)
    member.destroy()
    return statistics.median(took)


def the_journal_is_never_synced(directory: Path) -> dict[str, object]:
    """Which calls that wait for the disk were made for an entry and a vote; what is read back after a bit flipped."""
    synced: list[str] = []
    for name in ("fsync", "fdatasync", "sync"):
        setattr(os, name, lambda *_, name=name: synced.append(name))
    path = str(directory / "journal")
    pysyncobj.journal.ResizableFile.flush = lambda _: synced.append("msync")
    journal = createJournal(path)
    journal.add(b"an acknowledged write", 1, 1)
    journal.setCurrentTerm(1, "a")
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"acknowledged")] ^= 1
    Path(path).write_bytes(data)
    return {"synced": synced, "read_back": createJournal(path)[0][0].decode(errors="replace")}


def a_commit_index_behind_the_journal_s_end(directory: Path) -> list[bool]:
    """Whether start-up comes to an end: with the commit index at the journal's end, and behind it."""
    return [_starts(directory, commit) for commit in (1, 5)]


def _starts(directory: Path, commit: int) -> bool:
    path = str(directory / f"commit-{commit}")
    journal = createJournal(path)
    journal.add(NO_OP, 1, 0)
    journal.setRaftCommitIndex(commit)
    journal.setCurrentTerm(1, "a")
    child = os.fork()
    if child == 0:
        # It may hang for good.
        signal.alarm(3)
        member = Member(createJournal(path))
        for _ in range(100):
            CLOCK.now += 0.1
            member.doTick()
            member.hear("b", {"type": "response_vote", "term": member.raftCurrentTerm})
            for node in ("b", "c"):
                member.hear(node, {"type": "next_node_idx", "next_node_idx": 3, "success": True, "reset": False})
        os._exit(0 if member.isReady() and member.raftLastApplied >= 2 else 1)
    _, status = os.waitpid(child, 0)
    return status == 0


class FullJournal(MemoryJournal):  # type: ignore[misc]
    full = False

    def add(self, command: bytes, idx: int, term: int) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().add(command, idx, term)


def a_full_disk_stalls_the_leader(directory: Path) -> bool:
    """Whether a leader whose disk is full goes on being the leader, and keeps the others from electing another."""
    journal = FullJournal()
    member = Member(journal)
    member.lead()
    journal.full = True
    for _ in range(100):
        CLOCK.now += 0.1
        member._applyCommand(b"\x00command", None)
        with contextlib.suppress(OSError):
            member.doTick()
        for node in ("b", "c"):
            member.hear(node, {"type": "next_node_idx", "next_node_idx": 2, "success": True, "reset": False})
    return bool(member._isLeader())


def a_repeated_message_drops_applied_entries(directory: Path) -> list[int]:
    """How long the log is after three entries came and were applied, and then the first message came again."""
    member = Member()
    entries = [(NO_OP, index, 1) for index in (2, 3, 4)]
    lengths = []
    member.offer(1, *entries, commit=4)
    member.doTick()
    lengths += [len(member.journal), member.raftLastApplied]
    member.offer(1, entries[0], commit=4)
    return [*lengths, len(member.journal)]


def a_late_acknowledgement_counts(directory: Path) -> list[int]:
    """The commit index before and after an acknowledgement that says nothing of the term it was given in."""
    member = Member()
    member.lead()
    before = member.raftCommitIndex
    member.hear("c", {"type": "next_node_idx", "next_node_idx": 3, "success": True, "reset": False})
    CLOCK.now += 0.01
    member.doTick()
    return [before, member.raftCommitIndex]


class Trap:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.mkdir, (self._path,)


def a_message_runs_code(directory: Path) -> bool:
    """Whether a directory is made by a message from somebody who only reached the port."""
    trap, port = directory / "sprung", free_port()
    program = f"import pysyncobj, time; pysyncobj.SyncObj('127.0.0.1:{port}', ['127.0.0.1:1']); time.sleep(30)"
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        data = zlib.compress(pickle.dumps(Trap(trap)))
        while not trap.exists() and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                    connection.sendall(struct.pack("i", len(data)) + data)
                    time.sleep(0.2)
            except OSError:
                time.sleep(0.05)
        return trap.exists()
    finally:
        child.kill()
        child.wait()


def snapshots_fork(directory: Path) -> int:
    """How often the process is forked for one snapshot."""
    forks: list[int] = []
    real = os.fork
    os.fork = lambda: forks.append(1) or 1 << 30  # type: ignore[func-returns-value]
    try:
        member = Member(fullDumpFile=str(directory / "dump"))
        member.lead()
        member.hear("b", {"type": "next_node_idx", "next_node_idx": 3, "success": True, "reset": False})
        member.forceLogCompaction()
        for _ in range(3):
            CLOCK.now += 0.1
            with contextlib.suppress(OSError):
                member.doTick()
        return len(forks)
    finally:
        os.fork = real


def a_leader_that_is_cut_off_believes_in_itself(directory: Path) -> float:
    """For how many seconds a leader that hears from nobody goes on taking itself for one."""
    member = Member()
    member.lead()
    began = CLOCK.now
    while member._isLeader() and CLOCK.now < began + 120:
        CLOCK.now += 0.5
        member.doTick()
    return CLOCK.now - began


def pieces_of_an_entry_are_not_checked(directory: Path) -> bool:
    """Whether an entry whose second piece was lost, and third delivered twice, is taken as it came."""
    member = Member()
    data = pickle.dumps((b"\x01" + b"a" * 1000 + b"b" * 1000 + b"c" * 1000, 2, 1))
    size = len(data) // 4 + 1
    first, second, third, last = (data[start : start + size] for start in range(0, len(data), size))
    assert len(second) == len(third)
    member.offer(1, transmission="start", data=first)
    for _ in range(2):
        member.offer(1, transmission="process", data=third)
    member.offer(1, transmission="finish", data=last)
    command = member.journal[-1][0]
    return len(member.journal) == 2 and len(command) == 3001 and command.count(b"b") != 1000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


FAULTS: tuple[Callable[[Path], object], ...] = (
    defaults_commit_slowly,
    a_commit_index_behind_the_journal_s_end,
    a_full_disk_stalls_the_leader,
    a_repeated_message_drops_applied_entries,
    a_late_acknowledgement_counts,
    a_message_runs_code,
    snapshots_fork,
    a_leader_that_is_cut_off_believes_in_itself,
    pieces_of_an_entry_are_not_checked,
    the_journal_is_never_synced,
)


def main() -> None:
    logging.disable(logging.CRITICAL)
    directory = Path(sys.argv[1])
    seen: dict[str, object] = {}
    for fault in FAULTS:
        try:
            seen[fault.__name__] = fault(directory)
        except Exception as error:  # noqa: BLE001 - it is shown where the result is looked for
            seen[fault.__name__] = f"{type(error).__name__}: {error}"
    print(json.dumps(seen))
    sys.stdout.flush()
    # Threads of PySyncObj's may still be there.
    os._exit(0)


if __name__ == "__main__":
    main()
