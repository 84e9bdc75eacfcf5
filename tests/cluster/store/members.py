"""The members of a run as processes: started, killed, paused, harmed, and known by where they are.

A process that ends by itself is an anomaly, unless something was done to it that it has to end of.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.pki import store_host
from orchestrator.store.store_client import ClientCredentials, Endpoint, StoreClient
from tests.cluster.store.laboratory import PLACES, Laboratory
from tests.integration.store.certificates import Authority

PEERS_PORT: Final = 7000
DOOR_PORT: Final = 7001
CALL_SECONDS: Final = 4.0
CONTROL_SECONDS: Final = 5.0
STOP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How the members of a run are set up."""

    settings: Mapping[str, int] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """One life of a member's process."""

    number: int
    process: asyncio.subprocess.Process
    ending: set[str] = field(default_factory=set)
    """What was done to it that it may end of."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Member:
    """A member that has a place, a disk and a name for good, and perhaps a process."""

    def __init__(self, laboratory: Laboratory, name: str, place: int, *, small_disk: bool) -> None:
        self.name, self.place, self.small_disk = name, place, small_disk
        self.disk = laboratory.disk(name, small=small_disk)
        self.archive = laboratory.directory / f"{name}.removed"
        self.archive.mkdir()
        self.log = laboratory.directory / f"{name}.log"
        self.control = laboratory.directory / f"{name}.control"
        self.config = laboratory.directory / f"{name}.json"
        self.moved = False
        self.paused = False
        self.leaving = False
        """It was asked to be removed; whether it is, the others know."""
        self.removed = False
        self.runs = 0
        self.run: Run | None = None
        self.busy = asyncio.Lock()
        """Held while the process is started or ended."""
        self.connection: StoreClient | None = None

    @property
    def label(self) -> str:
        return f"{self.name}/{self.runs}"

    @property
    def client(self) -> StoreClient:
        assert self.connection is not None
        return self.connection

    @property
    def directory(self) -> Path:
        """Below the disk's root, where what fills the disk is."""
        return self.disk / "store"

    @property
    def up(self) -> bool:
        return self.run is not None


class Members:
    def __init__(self, laboratory: Laboratory, manner: Manner, report: Callable[[str], None]) -> None:
        """`report` is told of processes that ended by themselves."""
        self._laboratory, self._manner, self._report = laboratory, manner, report
        self._authority = Authority()
        visitor = self._authority.member("visitor", common_name="torture")
        self._visitor = ClientCredentials(visitor.authority, visitor.certificate, visitor.key)
        self._initial: Mapping[str, str] = {}
        self.all: dict[str, Member] = {}
        """Everybody who was ever a member, by name, those that were removed included."""
        self._watching: set[asyncio.Task[None]] = set()

    # Who there is.

    @property
    def present(self) -> Sequence[Member]:
        """All that have not been removed, whether they run or not."""
        return [member for member in self.all.values() if not member.removed]

    @property
    def up(self) -> Sequence[Member]:
        return [member for member in self.present if member.up]

    def address(self, member: Member) -> str:
        """Where the others call it."""
        return f"{self._laboratory.address(member.place, moved=member.moved)}:{PEERS_PORT}"

    def free_places(self) -> Sequence[int]:
        taken = {member.place for member in self.all.values() if member.up or not member.removed}
        return [place for place in PLACES if place not in taken]

    # Life and death.

    async def found(self, names: Sequence[str], small: Collection[str]) -> None:
        """The first members of a new cluster; the disks of those in `small` can be filled."""
        for place, name in enumerate(names):
            self.all[name] = Member(self._laboratory, name, place, small_disk=name in small)
        self._initial = {name: self.address(member) for name, member in self.all.items()}
        for member in self.present:
            self._write_config(member)
            await self.start(member)

    def newcomer(self, name: str, place: int, *, small_disk: bool) -> Member:
        """One that waits, once it is started, to be added."""
        member = self.all[name] = Member(self._laboratory, name, place, small_disk=small_disk)
        self._write_config(member, join=True)
        return member

    def _write_config(self, member: Member, *, join: bool = False) -> None:
        own = self._authority.member(member.name)
        files = {"authority": own.authority, "certificate": own.certificate, "key": own.key}
        paths = {kind: member.config.with_name(f"{member.name}.{kind}.pem") for kind in files}
        for kind, pem in files.items():
            paths[kind].write_bytes(pem)
        host = self._laboratory.address(member.place, moved=member.moved)
        member.config.write_text(
            json.dumps(
                {
                    "directory": str(member.directory),
                    "name": member.name,
                    **{kind: str(path) for kind, path in paths.items()},
                    "door": f"{host}:{DOOR_PORT}",
                    "listen": f"{host}:{PEERS_PORT}",
                    "initial": {} if join else dict(self._initial),
                    "join": join,
                    "cluster": "torture",
                    "timing": dict(self._manner.timing),
                    "settings": dict(self._manner.settings),
                }
            )
        )

    async def start(self, member: Member) -> None:
        """Unless it runs already."""
        async with member.busy:
            await self._start(member)

    async def _start(self, member: Member) -> None:
        if member.run is not None:
            return
        module = [sys.executable, "-m", "tests.cluster.store.faulty_member"]
        paths = map(str, (member.config, member.control, member.archive))
        with member.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._laboratory.inside(member.place, *module, *paths),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # What is typed at the terminal is not for the members.
                start_new_session=True,
            )
        member.runs += 1
        member.run = Run(member.runs, process)
        self._watching.add(watching := asyncio.create_task(self._watch(member, member.run)))
        watching.add_done_callback(self._watching.discard)
        member.paused = False
        if member.connection is None:
            door = f"{self._laboratory.address(member.place, moved=member.moved)}:{DOOR_PORT}"
            endpoint = Endpoint(door, store_host(member.name))
            member.connection = StoreClient([endpoint], self._visitor, timeout=CALL_SECONDS)

    async def _watch(self, member: Member, run: Run) -> None:
        code = await run.process.wait()
        member.run = None
        member.paused = False
        run.ended.set()
        if not (run.ending or member.leaving):
            self._report(f"member {member.name} ended by itself with {code}: {_last_words(member.log)}")

    async def kill(self, member: Member) -> None:
        async with member.busy:
            await self._end(member, signal.SIGKILL)

    async def stop(self, member: Member) -> None:
        """As an operator would."""
        async with member.busy:
            if member.run is None:
                return
            self.resume(member)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._end(member, signal.SIGTERM)
            except TimeoutError:
                self._report(f"member {member.name} was asked to end and did not within {STOP_SECONDS:g} s")
                await self._end(member, signal.SIGKILL)

    async def _end(self, member: Member, number: signal.Signals) -> None:
        run = member.run
        if run is not None:
            run.ending.add(number.name)
            run.process.send_signal(number)
            await run.ended.wait()

    def pause(self, member: Member) -> None:
        if member.run is not None:
            member.run.process.send_signal(signal.SIGSTOP)
            member.paused = True

    def resume(self, member: Member) -> None:
        if member.run is not None:
            member.run.process.send_signal(signal.SIGCONT)
            member.paused = False

    async def move(self, member: Member) -> None:
        """Have it end, and begin again at another address."""
        async with member.busy:
            await self._end(member, signal.SIGKILL)
            member.moved = not member.moved
            if member.connection is not None:
                await member.connection.close()
                member.connection = None
            self._write_config(member, join=member.name not in self._initial)
            await self._start(member)

    async def harm(self, member: Member, order: Mapping[str, object], *, ends_of: str = "") -> bool:
        """Have the process do something to itself that it may end of; False: it is not there to hear of it."""
        if member.run is None or member.paused:
            return False
        if ends_of:
            member.run.ending.add(ends_of)
        try:
            async with asyncio.timeout(CONTROL_SECONDS):
                reader, writer = await asyncio.open_unix_connection(member.control)
                writer.write(json.dumps(order).encode() + b"\n")
                await reader.readline()
                writer.close()
        except (OSError, TimeoutError):
            return False  # it has only just been started, or the order was to die at once
        return True

    # Full disks.

    def fill(self, member: Member) -> None:
        """Leave no room on the member's small disk."""
        if not member.small_disk:
            return
        with (member.disk / "filler").open("ab", buffering=0) as filler:
            size = 1 << 20
            while size:
                try:
                    filler.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self, member: Member) -> None:
        (member.disk / "filler").unlink(missing_ok=True)

    async def close(self) -> None:
        """All processes end, at once."""
        for member in self.all.values():
            await self.kill(member)
            if member.connection is not None:
                await member.connection.close()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "nothing was said"
