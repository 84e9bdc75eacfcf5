"""Keeps the daemons of one machine running, where no systemd does it: `navctl up` starts it, `navctl down` ends it.

It reads its table of processes once, starts them in order and restarts what dies, with a growing pause. A SIGTERM ends
them in reverse order, and a process may name a command to run before it is ended (the container runtime has its pods
removed then). Should the supervisor itself be killed, the kernel ends its children too, so that the next one starts
from a clean slate; containers are nobody's children here and run on.

Its pid file is also its lock, so there is one supervisor a machine. While it ends its processes the file says so: who
wants to start another (`navctl up`) waits for that instead of taking a cluster that goes down for one that runs.

Its pid file is also its lock, so there is one supervisor a machine. While it ends its processes the file says so: who
wants to start another (`navctl up`) waits for that instead of taking a cluster that goes down for one that runs.

Waiting is one `sigtimedwait`: no event loop, no thread, nothing imported that costs memory.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds before a restart
STEADY_SECONDS = 60.0  # a process that ran this long starts over with the first pause
STOP_SECONDS = 20.0  # between SIGTERM and SIGKILL
BEFORE_STOP_SECONDS = 40.0
_PR_SET_PDEATHSIG = 1
_ENDING = "ending"
_ENDING = "ending"
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


@dataclass(frozen=True, slots=True)
class Program:
    """One row of the table. `longest_pause`: seconds before a restart, at most."""

    name: str
    command: Sequence[str]
    before_stop: Sequence[str] = ()
    longest_pause: float = LONGEST_PAUSE


@dataclass(slots=True)
class Slot:
    """A program and the process that runs it now, if any."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = field(default=0.0)


def pause(failures: int, longest: float) -> float:
    """Seconds to wait before the start that follows `failures` early deaths in a row."""
    return min(FIRST_PAUSE * 2.0 ** min(failures, 32), longest)


def read_table(path: Path) -> list[Program]:
    return [Program(**row) for row in json.loads(path.read_text())]


def write_table(path: Path, programs: Sequence[Program]) -> None:
    path.write_text(json.dumps([asdict(program) for program in programs], indent=2) + "\n")


def pid_file(run: Path, name: str) -> Path:
    return run / f"{name}.pid"


class Supervisor:
    """Runs the programs of a table until it is told to stop."""

    def __init__(
        self, programs: Sequence[Program], run: Path, logs: Path, patience: float = BEFORE_STOP_SECONDS
    ) -> None:
        """`patience`: seconds that a command before a process's end may take."""
        self._slots = [Slot(program) for program in programs]
        self._run = run
        self._logs = logs
        self._patience = patience

    def run(self) -> None:
        """Returns when a SIGTERM or SIGINT has come; the processes still run then."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            now = time.monotonic()
            for slot in self._slots:
                if slot.process is None and slot.start_at <= now:
                    self._start(slot)
            due = [slot.start_at - now for slot in self._slots if slot.process is None]
            arrived = signal.sigtimedwait(_SIGNALS, max(0.0, min(due, default=3600.0)))
            if arrived is not None and arrived.si_signo != signal.SIGCHLD:
                return
            self._reap()

    def stop(self) -> None:
        """Returns when every process has ended."""
        for slot in reversed(self._slots):
            self._stop(slot)

    def _start(self, slot: Slot) -> None:
        with (self._logs / f"{slot.program.name}.log").open("ab") as log:
            slot.process = subprocess.Popen(
                slot.program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_become_child,
                start_new_session=True,
            )
        slot.started = time.monotonic()
        pid_file(self._run, slot.program.name).write_text(f"{slot.process.pid}\n")
        _say(f"started {slot.program.name} pid={slot.process.pid}")

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.process is None or slot.process.poll() is None:
                continue
            now = time.monotonic()
            slot.failures = 0 if now - slot.started > STEADY_SECONDS else slot.failures
            code, seconds = slot.process.returncode, pause(slot.failures, slot.program.longest_pause)
            slot.start_at = now + seconds
            _say(f"{slot.program.name} ended with {code}, starts again in {seconds:.1f} s")
            slot.failures += 1
            slot.process = None

    def _stop(self, slot: Slot) -> None:
        if slot.process is not None:
            if slot.program.before_stop:
                self._run_before_stop(slot.program)
            slot.process.terminate()
            try:
                slot.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _say(f"{slot.program.name} did not end in {STOP_SECONDS:.0f} s, killed")
                slot.process.kill()
                slot.process.wait()
            _say(f"stopped {slot.program.name}")
        pid_file(self._run, slot.program.name).unlink(missing_ok=True)

    def _run_before_stop(self, program: Program) -> None:
        try:
            code = subprocess.run(
                program.before_stop, check=False, preexec_fn=_become_child, timeout=self._patience
            ).returncode
        except subprocess.TimeoutExpired:
            _say(f"before the end of {program.name}: not done in {self._patience:.0f} s, given up")
        else:
            _say(f"before the end of {program.name}: exit {code}")


def _become_child() -> None:
    """In a new process: end with the supervisor, and receive signals again."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


def _say(message: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} INFO supervisor {message}", flush=True)


def hold_lock(run: Path) -> int:
    """Takes the machine's supervisor lock; it is held as long as the descriptor is open, here or in a child.

    Raises BlockingIOError when another holds it.
    """
    file = pid_file(run, "supervisor")
    while True:
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        if _is_at(descriptor, file):
            _write_holder(descriptor, "")
            return descriptor
        # Its last holder removed the file after we had opened it: a lock on it keeps nobody out.
        os.close(descriptor)


def release_lock(run: Path, lock: int) -> None:
    pid_file(run, "supervisor").unlink(missing_ok=True)
    os.close(lock)


def holder(run: Path) -> tuple[int, bool] | None:
    """The supervisor's process and whether it is ending; None when there is none, or not yet."""
    try:
        words = pid_file(run, "supervisor").read_text().split()
        pid = int(words[0])
        # After a crash the number may be someone else's.
        ours = b"cli.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return (pid, _ENDING in words) if ours else None


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _write_holder(lock: int, text: str) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="keeps the daemons of a table running")
    for name in ("table", "run", "logs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--lock", type=int, help="the descriptor of the lock, when who started this holds it already")
    given = parser.parse_args()
    try:
        lock = hold_lock(given.run) if given.lock is None else given.lock
    except BlockingIOError:
        print(f"supervisor: another one holds {pid_file(given.run, 'supervisor')}", file=sys.stderr)
        return 1
    os.set_inheritable(lock, False)
    _write_holder(lock, f"{os.getpid()}\n")
    table = Supervisor(read_table(given.table), given.run, given.logs)
    table.run()
    _write_holder(lock, f"{os.getpid()} {_ENDING}\n")
    table.stop()
    release_lock(given.run, lock)
    return 0


if __name__ == "__main__":
    sys.exit(main())
