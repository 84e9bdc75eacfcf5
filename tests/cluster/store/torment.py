"""One run: members as processes in their own namespaces, clients, watchers and a nemesis by seed, and the verdict.

    python -m tests.cluster.store.torment --seed 7 --seconds 60

The command makes the namespaces, and runs itself again in the one of the clients; whatever becomes of that, it removes
everything. Where something is wrong, the history, the members' logs and their segments are kept, and where is said.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from orchestrator.store import NothingWritten, Put, StoreUnavailable
from tests.cluster.store.clients import Client, Door, list_all
from tests.cluster.store.die_with_parent import die_with_parent
from tests.cluster.store.history import LEASED, UNKNOWN, Call, History, Listing, Txn, value_of
from tests.cluster.store.laboratory import Laboratory, laboratory
from tests.cluster.store.log_matching import Committed, committed, mismatches
from tests.cluster.store.members import Manner, Member, Members
from tests.cluster.store.nemesis import Nemesis
from tests.cluster.store.observer import Observer
from tests.cluster.store.schedule import schedule
from tests.cluster.store.tenants import TTL, Tenant
from tests.cluster.store.verdict import judge
from tests.cluster.store.watchers import Watcher

CLIENTS: Final = 8
WATCHED: Final = ("/", "/", "/", "/0/", "/1/")
TENANTS: Final = 2
LEASES_END_SECONDS: Final = 10.0
START_SECONDS: Final = 30.0
RECOVERY_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.2
_QUICK: Final = {"heartbeat": 0.1, "election": 0.6, "patience": 2.0}
_SLOW: Final = {"heartbeat": 0.2, "election": 1.8, "patience": 3.5}
"""A member that is killed is back before the others have missed it."""
MANNERS: Final = (
    Manner({"segment_size": 1 << 16, "entries_in_memory": 50, "snapshot_entries": 150}, _QUICK),
    Manner({"segment_size": 1 << 18, "entries_in_memory": 50}, _QUICK),
    Manner({"segment_size": 1 << 16, "entries_in_memory": 50, "snapshot_entries": 150}, _SLOW),
    Manner({}, _QUICK),
)


@dataclass(frozen=True, slots=True)
class Report:
    seed: int
    operations: int
    unknown: int
    elections: int
    faults: Mapping[str, int]
    anomalies: Sequence[str]
    kept: str = ""
    """Where the history and the logs are, if something is wrong."""

    def __str__(self) -> str:
        faults = " ".join(f"{fault}:{count}" for fault, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: operations {self.operations} unknown {self.unknown} elections {self.elections} "
            f"faults {sum(self.faults.values())} ({faults}) anomalies {len(self.anomalies)}"
        )


def torment(seed: int, seconds: float) -> Report:
    """Torment a cluster for so long, and then see it recover and what it holds."""
    with laboratory() as made:
        command = [sys.executable, "-m", "tests.cluster.store.torment", "--inside", made.name]
        arguments = ["--seed", str(seed), "--seconds", str(seconds)]
        most = seconds + START_SECONDS + 3 * RECOVERY_SECONDS
        try:
            done = subprocess.run(
                made.inside(None, *command, *arguments), capture_output=True, text=True, timeout=most, check=False
            )
            wrong = f"the run ended with {done.returncode}: {done.stderr[-2000:]}" if done.returncode else ""
        except subprocess.TimeoutExpired:
            wrong = f"the run was not done after {most:g} s"
        if not wrong:
            report = Report(**json.loads((made.directory / "report.json").read_text()))
        else:
            report = Report(seed, 0, 0, 0, {}, [wrong])
        if report.anomalies:
            report = replace(report, kept=_keep(made, seed))
    return report


def _keep(made: Laboratory, seed: int) -> str:
    kept = Path(tempfile.mkdtemp(prefix=f"navarch-torture-{seed}-"))
    shutil.copytree(
        made.directory, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.pem", "*.control", "filler")
    )
    return str(kept)


class _Run:
    """What happens in the clients' namespace."""

    def __init__(self, made: Laboratory, seed: int, seconds: float) -> None:
        self._made, self._seconds = made, seconds
        self._schedule = schedule(seed, seconds)
        self._history = History()
        self._members = Members(made, MANNERS[seed % len(MANNERS)], self._history.anomalies.append)
        self._observer = Observer(self._members, self._history.anomalies.append)
        self._faults: Mapping[str, int] = {}

    async def report(self) -> Report:
        logs: dict[str, Committed] = {}
        try:
            await self._run()
            for member in self._members.up:
                await self._members.stop(member)
        finally:
            await self._members.close()
        for name, member in self._members.all.items():
            logs[name] = committed([member.directory, member.archive])
        self._history.anomalies += mismatches(logs)
        self._history.write(self._made.directory / "history.jsonl")
        calls = self._history.calls
        return Report(
            seed=self._schedule.seed,
            operations=len(calls),
            unknown=sum(call.returned == UNKNOWN for call in calls),
            elections=self._observer.elections,
            faults=self._faults,
            anomalies=list(dict.fromkeys(judge(self._history))),
        )

    async def _run(self) -> None:
        names = [f"m{place}" for place in range(self._schedule.size)]
        await self._members.found(names, [names[place] for place in self._schedule.small])
        chance = random.Random(self._schedule.seed)
        began = time.monotonic()
        stop = asyncio.Event()
        clients = [
            Client(number, self._doors, self._history, began, chance.random()) for number in range(1, CLIENTS + 1)
        ]
        watchers = [
            Watcher(number, prefix, self._doors, self._history, chance.random())
            for number, prefix in enumerate(WATCHED)
        ]
        tenants = [Tenant(number, self._doors, self._history, chance.random()) for number in range(1, TENANTS + 1)]
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(watcher.work()) for watcher in watchers]
            background += [tasks.create_task(tenant.look()) for tenant in tenants]
            background.append(tasks.create_task(self._observer.work()))
            if await self._recovers(START_SECONDS, "start"):
                working = [tasks.create_task(client.work(stop)) for client in clients]
                working += [tasks.create_task(tenant.work(stop)) for tenant in tenants]
                nemesis = Nemesis(self._made, self._members, self._observer, tasks)
                await nemesis.act(self._schedule)
                self._faults = dict(nemesis.done)
                stop.set()
                await asyncio.gather(*working)
                if await self._made_good(nemesis) and await self._recovers(RECOVERY_SECONDS, "recover"):
                    await self._leases_end()
                    await self._compare(watchers)
            for task in background:
                task.cancel()

    async def _made_good(self, nemesis: Nemesis) -> bool:
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                await nemesis.make_good()
        except TimeoutError:
            self._history.anomalies.append(f"there was no list of the members that fits within {RECOVERY_SECONDS:g} s")
            return False
        return True

    def _doors(self) -> Sequence[Door]:
        return self._members.up

    async def _recovers(self, seconds: float, what: str) -> bool:
        """Whether every member serves a fresh read before the time is up."""
        try:
            async with asyncio.timeout(seconds):
                for member in self._members.present:
                    while not await self._serves(member):
                        if what == "recover":
                            # What it was told to die of may have come only now.
                            await self._members.start(member)
                        await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            dumb = [member.label for member in self._members.present if not await self._serves(member)]
            self._history.anomalies.append(f"{dumb} did not {what} within {seconds:g} s")
            return False
        return True

    async def _serves(self, member: Member) -> bool:
        try:
            await member.client.get("/end")
        except StoreUnavailable:
            return False
        return True

    async def _leases_end(self) -> None:
        """What was leased goes, once everything works."""
        try:
            async with asyncio.timeout(LEASES_END_SECONDS):
                while (await self._list(self._members.present[0], LEASED)).items:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(AGAIN_SECONDS)
        except TimeoutError:
            self._history.anomalies.append(f"leases of {TTL:g} s have not ended after {LEASES_END_SECONDS:g} s")

    async def _compare(self, watchers: Sequence[Watcher]) -> None:
        """The last write, and what it leaves on every member and in every watch."""
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                revision = await self._last_write()
                for member in self._members.present:
                    self._history.final[member.name] = await self._list(member, "/")
                await asyncio.gather(*(watcher.reach(revision) for watcher in watchers))
        except TimeoutError:
            behind = {number: watcher.position for number, watcher in enumerate(watchers)}
            self._history.anomalies.append(f"not everybody saw the last write; the watchers are at {behind}")

    async def _last_write(self) -> int:
        keys = sorted({f"{prefix}end" for prefix in WATCHED})
        for attempt in itertools.count():
            member = self._members.up[attempt % len(self._members.up)]
            values = dict.fromkeys(keys, f"0.{attempt}")
            did = Txn(tuple(values.items()))
            called = time.monotonic()
            try:
                result = await member.client.txn([], [Put(key, value_of(value, 20)) for key, value in values.items()])
            except StoreUnavailable as error:
                nothing = isinstance(error, NothingWritten)
                returned = time.monotonic() if nothing else UNKNOWN
                self._history.calls.append(Call(0, member.label, called, returned, did, nothing))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            did = replace(did, revision=result.revision)
            self._history.calls.append(Call(0, member.label, called, time.monotonic(), did))
            return result.revision
        raise AssertionError

    async def _list(self, member: Member, prefix: str) -> Listing:
        while True:
            try:
                return await list_all(member.client, prefix)
            except StoreUnavailable:
                await asyncio.sleep(AGAIN_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description="Torment a store of real processes")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule of faults; none: a random one")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    if arguments.inside:
        die_with_parent()
        made = Laboratory(arguments.inside)
        report = asyncio.run(_Run(made, seed, arguments.seconds).report())
        (made.directory / "report.json").write_text(json.dumps(asdict(report)))
        return 0
    report = torment(seed, arguments.seconds)
    print(report)
    for anomaly in report.anomalies:
        print(f"  {anomaly}")
    if report.kept:
        print(f"  kept in {report.kept}")
    return 1 if report.anomalies else 0


if __name__ == "__main__":
    raise SystemExit(main())
