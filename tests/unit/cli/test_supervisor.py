"""The supervisor with real processes: what dies is started again, what must end ends, in order."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.orphans import end_orphans
from cli.supervisor import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Program,
    hold_lock,
    holder,
    pause,
    pid_file,
    release_lock,
    write_table,
)

SLEEPER = "import sys, os, time; open(sys.argv[1], 'w').write(f'{os.getpid()}\\n'); time.sleep(600)"


class Running:
    """A supervisor process and the pipes by which its children say that they live."""

    def __init__(self, directory: Path, *names: str, before_stop: dict[str, list[str]] | None = None) -> None:
        self.directory = directory
        self.pipes: dict[str, int] = {}
        programs = []
        for name in names:
            fifo = directory / f"{name}.fifo"
            os.mkfifo(fifo)
            self.pipes[name] = os.open(fifo, os.O_RDWR)  # never at end of file: children come and go
            programs.append(
                Program(name, [sys.executable, "-c", SLEEPER, str(fifo)], (before_stop or {}).get(name, []))
            )
        write_table(directory / "table.json", programs)
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        places = [f"--table={self.directory / 'table.json'}", f"--run={self.directory}", f"--logs={self.directory}"]
        return subprocess.Popen(
            [sys.executable, "-m", "cli.supervisor", *places], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def born(self, name: str) -> int:
        """The process id that a child wrote when it started."""
        readable, _, _ = select.select([self.pipes[name]], [], [], 20)
        assert readable, f"{name} did not start"
        return int(os.read(self.pipes[name], 64))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        for pipe in self.pipes.values():
            os.close(pipe)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for one in started:
        one.close()


def ended(pid: int) -> bool:
    """Waits for a process that is not ours to end."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    readable, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    return bool(readable)


def test_a_killed_process_is_started_again_and_the_others_are_left_alone(
    tmp_path: Path, running: list[Running]
) -> None:
    one = Running(tmp_path, "a", "b")
    running.append(one)
    first, other = one.born("a"), one.born("b")
    os.kill(first, signal.SIGKILL)
    assert one.born("a") != first
    assert int(pid_file(tmp_path, "b").read_text()) == other


def test_sigterm_ends_all_in_reverse_order_and_leaves_no_pid_file(tmp_path: Path, running: list[Running]) -> None:
    witness = tmp_path / "witness"
    one = Running(tmp_path, "a", "b", before_stop={"a": ["sh", "-c", f"ls {tmp_path}/*.pid > {witness}"]})
    running.append(one)
    children = [one.born("a"), one.born("b")]
    one.process.terminate()
    assert one.process.wait(20) == 0
    assert all(ended(pid) for pid in children)
    assert "a.pid" in witness.read_text()
    assert "b.pid" not in witness.read_text(), "b ended before a's command ran"
    assert not list(tmp_path.glob("*.pid"))


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path, running: list[Running]) -> None:
    one = Running(tmp_path, "a")
    running.append(one)
    child = one.born("a")
    one.process.kill()
    assert ended(child)


def test_a_second_supervisor_says_who_holds_the_place(tmp_path: Path, running: list[Running]) -> None:
    one = Running(tmp_path, "a")
    running.append(one)
    one.born("a")
    second = one.start()
    _, error = second.communicate(timeout=20)
    assert second.returncode == 1
    assert "another one holds" in error


def test_pauses_grow_to_a_bound() -> None:
    assert pause(0, LONGEST_PAUSE) == FIRST_PAUSE
    assert pause(1, LONGEST_PAUSE) == 2 * FIRST_PAUSE
    assert pause(5000, LONGEST_PAUSE) == LONGEST_PAUSE
    assert pause(5000, 1.5) == 1.5


def test_a_command_that_hangs_does_not_keep_its_process_alive(tmp_path: Path) -> None:
    # In a process of its own: a supervisor blocks the signals of the one it runs in.
    script = f"""
import signal, sys
from pathlib import Path
from cli.supervisor import Program, Supervisor
here = Path({str(tmp_path)!r})
one = Supervisor([Program("a", ["sleep", "600"], ["sleep", "600"])], here, here, patience=0.3)
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
signal.raise_signal(signal.SIGTERM)
one.run()
one.stop()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert "given up" in done.stdout and "stopped a" in done.stdout


def test_a_supervisor_that_ends_says_so(tmp_path: Path, running: list[Running]) -> None:
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)
    one = Running(tmp_path, "a", before_stop={"a": ["sh", "-c", f"read word < {go_on}"]})
    running.append(one)
    one.born("a")
    assert holder(tmp_path) == (one.process.pid, False)
    one.process.terminate()
    with go_on.open("w") as pipe:  # opens when before_stop has begun to read
        assert holder(tmp_path) == (one.process.pid, True)
        pipe.write("word\n")
    one.process.wait(20)
    assert holder(tmp_path) is None


def test_a_lock_on_a_removed_file_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = hold_lock(tmp_path)
    lock_file = fcntl.flock

    def held_up(descriptor: int, operation: int) -> None:
        # Between this one's opening of the file and its lock, the holder removes the file and lets go.
        monkeypatch.undo()
        release_lock(tmp_path, first)
        lock_file(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", held_up)
    second = hold_lock(tmp_path)
    with pytest.raises(BlockingIOError):
        hold_lock(tmp_path)
    release_lock(tmp_path, second)


def test_orphans_are_ended_even_if_they_hang_and_strangers_are_left_alone(
    tmp_path: Path, running: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Running(tmp_path, "a", "b")
    running.append(one)
    hanging, other = one.born("a"), one.born("b")
    os.kill(hanging, signal.SIGSTOP)
    one.process.kill()
    assert ended(other)
    # The number that b had is somebody else's now.
    pid_file(tmp_path, "b").write_text(f"{os.getpid()}\n")
    (tmp_path / "table.json").rename(tmp_path / "processes.json")
    monkeypatch.setattr("cli.orphans.STOP_SECONDS", 0.3)
    end_orphans(tmp_path)
    assert ended(hanging)
