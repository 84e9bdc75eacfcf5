"""Three API servers of one cluster: they begin together, agree on everything, and one of them may go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from orchestrator import kubeconfig
from orchestrator.api import errors
from orchestrator.api.kinds import clone
from orchestrator.api.v1 import ConfigMap, Namespace, Service
from orchestrator.client import Client, Informer
from orchestrator.clock import SystemClock
from orchestrator.runtime import LeaderElection
from orchestrator.server import allocation
from orchestrator.server.bootstrap import NAMESPACES
from tests.integration.fleet import NAMES, Fleet, until
from tests.integration.server.objects import config_map, service

PATIENCE = 40.0


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path)
    try:
        async with asyncio.timeout(PATIENCE):
            await fleet.start()
        yield fleet
    finally:
        await fleet.stop()


@pytest.fixture
async def clients(fleet: Fleet) -> AsyncIterator[list[Client]]:
    """One for each server."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(server.connect()) for server in fleet.servers.values()]


async def test_what_a_cluster_has_is_made_once(fleet: Fleet, clients: list[Client]) -> None:
    seen = [(await client.list(Namespace)).items for client in clients]
    assert {namespace.metadata.name for namespace in seen[0]} == set(NAMESPACES)
    assert seen[0] == seen[1] == seen[2]
    addresses = {server.address for server in fleet.servers.values()}
    async with asyncio.timeout(PATIENCE):
        for name in NAMES:
            path = fleet.paths(name).kubeconfig("scheduler")
            await until(lambda path=path: set(kubeconfig.load(path).address.split(",")) == addresses)  # type: ignore[misc]
            known = kubeconfig.load(path).address
            assert known.split(",")[0] == fleet.servers[name].address, "its own machine's first"


async def test_a_write_on_one_is_read_and_watched_on_another_at_once(clients: list[Client]) -> None:
    for round_ in range(10):
        writer, reader, watcher = random.Random(round_).sample(clients, 3)
        made = await writer.create(config_map(f"c{round_}"))
        assert await reader.get(ConfigMap, f"c{round_}", "default") == made
        # A watch from a revision that this server may not have heard of yet.
        changes = watcher.watch(ConfigMap, resource_version=made.metadata.resource_version)
        task = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        made.data["key"] = "value"
        changed = await reader.update(made)
        async with asyncio.timeout(PATIENCE):
            assert (await task).object == changed
        await changes.aclose()


async def test_concurrent_updates_on_all_lose_nothing(clients: list[Client]) -> None:
    await clients[0].create(config_map("counter", n="0"))

    async def add(client: Client) -> None:
        added = 0
        while added < 10:
            counter = await client.get(ConfigMap, "counter", "default")
            counter.data["n"] = str(int(counter.data["n"]) + 1)
            try:
                await client.update(counter)
                added += 1
            except errors.Conflict:
                continue

    await asyncio.gather(*map(add, clients))
    for client in clients:
        assert (await client.get(ConfigMap, "counter", "default")).data["n"] == "30"


async def test_no_address_is_given_out_twice(clients: list[Client]) -> None:
    async def make(client: Client, prefix: str) -> list[Service]:
        return [await client.create(service(f"{prefix}{n}", type="NodePort")) for n in range(20)]

    made = await asyncio.gather(*(make(client, f"s{n}-") for n, client in enumerate(clients)))
    services = [each for group in made for each in group]
    assert len({each.spec.cluster_ip for each in services}) == 60
    assert len({each.spec.ports[0].node_port for each in services}) == 60
    wanted = services[0].spec.cluster_ip
    for client in clients:
        with pytest.raises(errors.Invalid, match="already allocated"):
            await client.create(service("thief", cluster_ip=wanted))
    await clients[1].delete(Service, "s0-0", namespace="default")
    assert (await clients[2].create(service("heir", cluster_ip=wanted))).spec.cluster_ip == wanted


async def test_what_one_gives_back_another_can_give_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "NODE_PORTS", range(30000, 30005))
    monkeypatch.setattr(allocation, "STATIC_PORTS", 0)
    fleet = Fleet(tmp_path)
    try:
        await fleet.start()
        async with AsyncExitStack() as stack:
            first, second, third = [
                await stack.enter_async_context(server.connect()) for server in fleet.servers.values()
            ]
            for round_ in range(3):
                for n in range(5):
                    await first.create(service(f"s{n}", type="NodePort"))
                with pytest.raises(errors.InternalError, match="range is full"):
                    await full(third, f"too-many-{round_}")
                for n in range(5):
                    await second.delete(Service, f"s{n}", namespace="default")
                await settled(first)
    finally:
        await fleet.stop()


async def full(client: Client, name: str) -> None:
    await client.create(service(name, type="NodePort"))
    await client.delete(Service, name, namespace="default")


async def settled(client: Client) -> None:
    """Until the server has heard that there is room again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await full(client, "probe")
                return
            except errors.InternalError:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("leads", [True, False], ids=["the leader", "a follower"])
async def test_one_goes_under_load_and_comes_back(fleet: Fleet, leads: bool) -> None:
    acknowledged: dict[str, str] = {}
    async with fleet.connect() as client, fleet.connect() as watching:
        informer = Informer(watching, ConfigMap, namespace="default", clock=SystemClock(), rng=random.Random(1))
        following = asyncio.create_task(informer.run())
        stop = asyncio.Event()
        writers = [asyncio.create_task(write(client, f"w{n}", acknowledged, stop)) for n in range(4)]
        leader = await fleet.leader()
        gone = leader if leads else next(name for name in NAMES if name != leader)
        await written(acknowledged, 40)
        await fleet.servers[gone].stop()
        await written(acknowledged, 40)
        await fleet.servers[gone].start()
        await written(acknowledged, 40)
        stop.set()
        await asyncio.gather(*writers)
        revisions = []
        for server in fleet.servers.values():
            async with server.connect() as one:
                listed = await one.list(ConfigMap, namespace="default")
                stored = {each.metadata.name: each.data["n"] for each in listed.items}
                # What was not acknowledged may be there all the same: nothing is missing, nothing is older.
                for name, number in acknowledged.items():
                    assert int(stored[name]) >= int(number), name
                revisions.append(int(listed.resource_version))
        async with asyncio.timeout(PATIENCE):
            # Bookmarks bring the rest of the way; a write brings it at once.
            last = await client.create(config_map("last", n="0"))
            await informer.reached(int(last.metadata.resource_version))
        listed = await client.list(ConfigMap, namespace="default")
        assert sorted(informer.list(), key=name_of) == sorted(listed.items, key=name_of)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_server_that_is_cut_off_from_the_others_keeps_nobody_waiting(fleet: Fleet) -> None:
    """Its clients still reach it: it has to tell them to go elsewhere, those with a silent watch too."""
    async with AsyncExitStack() as stack:
        informers = []
        for _ in range(3):  # of which one, at least, watches through the server in question
            client = await stack.enter_async_context(fleet.connect())
            informers.append(Informer(client, ConfigMap, namespace="default", rng=random.Random(1)))
        client = await stack.enter_async_context(fleet.connect())
        following = [asyncio.create_task(informer.run()) for informer in informers]
        for informer in informers:
            await informer.synced()
        leader = await fleet.leader()
        cut_off = fleet.servers[next(name for name in NAMES if name != leader)]
        await cut_off.store._wire.close()  # type: ignore[attr-defined]  # its other end is a cable
        stop = asyncio.Event()
        acknowledged: dict[str, str] = {}
        writers = [asyncio.create_task(write(client, f"w{n}", acknowledged, stop)) for n in range(4)]
        await written(acknowledged, 40)
        async with asyncio.timeout(PATIENCE), fleet.servers[leader].connect() as one:
            last = await one.create(config_map("last", n="0"))
            await asyncio.gather(*(each.reached(int(last.metadata.resource_version)) for each in informers))
        stop.set()
        await asyncio.gather(*writers)
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def write(client: Client, prefix: str, acknowledged: dict[str, str], stop: asyncio.Event) -> None:
    """Create and update until told to stop; what was not answered is looked at, and done again if need be."""
    rng = random.Random(prefix)
    known: list[ConfigMap] = []
    number = 0
    while not stop.is_set():
        number += 1
        wanted = clone(rng.choice(known)) if known and rng.random() < 0.7 else config_map(f"{prefix}-{number}")
        wanted.data["n"] = str(number)
        try:
            if wanted.metadata.uid:
                done = await client.update(wanted)
                known = [each for each in known if each.metadata.name != done.metadata.name]
            else:
                done = await client.create(wanted)
        except (errors.ServiceUnavailable, errors.Timeout, errors.ServerTimeout):
            await asyncio.sleep(0.05)
            known = [each for each in known if each.metadata.name != wanted.metadata.name]
            continue
        known.append(done)
        acknowledged[done.metadata.name] = done.data["n"]


async def written(acknowledged: dict[str, str], count: int) -> None:
    """Wait for so many more acknowledged writes."""
    before = sum(map(int, acknowledged.values()))
    async with asyncio.timeout(PATIENCE):
        await until(lambda: sum(map(int, acknowledged.values())) >= before + count)


def name_of(obj: ConfigMap) -> str:
    return obj.metadata.name


async def test_leadership_of_daemons_outlives_a_server(fleet: Fleet) -> None:
    """Two candidates, as on two machines: one works throughout the loss of a server, the other after it."""
    at_work: list[str] = []
    overlaps: list[tuple[str, ...]] = []
    began: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("a", "b")}

    async def work(name: str) -> None:
        at_work.append(name)
        overlaps.append(tuple(at_work))
        began[name].set()
        try:
            await asyncio.Event().wait()
        finally:
            at_work.remove(name)

    async with fleet.connect("scheduler") as first, fleet.connect("scheduler") as second:
        candidates = {
            name: asyncio.create_task(
                LeaderElection(
                    client, "navarch-scheduler", name, SystemClock(), lease_seconds=6, renew_deadline_seconds=5,
                    retry_seconds=0.3,
                ).run(lambda name=name: work(name))  # type: ignore[misc]
            )
            for name, client in (("a", first), ("b", second))
        }  # fmt: skip
        async with asyncio.timeout(PATIENCE):
            await either(began)
            holder = at_work[0]
            await fleet.servers[await fleet.leader()].stop()
            await asyncio.sleep(6.5)  # longer than a lease that nobody renews
            assert at_work == [holder], "it has renewed its lease elsewhere"
            candidates[holder].cancel()
            other = "b" if holder == "a" else "a"
            await began[other].wait()
        for task in candidates.values():
            task.cancel()
        await asyncio.gather(*candidates.values(), return_exceptions=True)
    assert all(len(each) == 1 for each in overlaps), "never two at once"


async def either(events: dict[str, asyncio.Event]) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events.values()]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
