"""One server's member of the store: its door, its directory, its flags, and how it ends when it is removed."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.store_session import store_client
from orchestrator import kubeconfig
from orchestrator.api.v1 import ConfigMap
from orchestrator.fatal import Fatal
from orchestrator.paths import Paths
from orchestrator.server.membership import StoreMember
from orchestrator.store import Compare, Put, WrongIdentity
from orchestrator.store.errors import StoreRefused
from tests.integration.fleet import Fleet, until
from tests.integration.running import RunningServer
from tests.integration.server.objects import config_map

PATIENCE = 40.0


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """One server, which others can join."""
    fleet = Fleet(tmp_path, ("n1",))
    await fleet.start()
    yield fleet
    await fleet.stop()


async def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=rf"{listen}.*--store-listen"):
            await RunningServer(Paths(tmp_path), member=StoreMember("n1", listen=listen)).start()
    server = RunningServer(Paths(tmp_path), member=StoreMember("n1", listen=listen))
    await server.start()
    await server.stop()


async def test_what_the_store_has_is_not_searched_for_garbage_while_it_serves(tmp_path: Path) -> None:
    server = RunningServer(Paths(tmp_path))
    await server.start()
    assert gc.get_freeze_count() > 0
    await server.stop()
    assert gc.get_freeze_count() == 0


async def test_after_the_first_start_the_directory_knows(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    server = fleet.servers["n1"]
    assert server.member is not None
    async with server.connect() as client:
        await client.create(config_map("kept"))
    for other in (
        replace(server.member, initial={"n1": "10.0.0.1:7444", "n9": "10.0.0.9:7444"}),
        replace(server.member, initial={}, join=True),
        replace(server.member, initial={}),
    ):
        await server.stop()
        server.member = other
        with caplog.at_level(logging.INFO, "server"):
            caplog.clear()
            await server.start()
        said = "the members are as the store knows them" in caplog.text
        assert said == bool(other.initial or other.join)
        async with server.connect() as client:
            assert (await client.get(ConfigMap, "kept", "default")).metadata.name == "kept"
        (member,) = (await server.store.members()).members
        assert (member.name, member.address, member.leader) == ("n1", fleet.peers["n1"], True)


async def test_another_members_directory_is_refused_and_left_alone(fleet: Fleet) -> None:
    server = fleet.servers["n1"]
    await server.stop()
    before = {each.name: each.read_bytes() for each in server.paths.store.iterdir() if each.name != "lock"}
    stranger = RunningServer(server.paths, node_name="n2", member=StoreMember("n2", listen="127.0.0.1:0"))
    with pytest.raises(WrongIdentity, match="belongs to the member n1, not to n2"):
        await stranger.start()
    assert {each.name: each.read_bytes() for each in server.paths.store.iterdir() if each.name != "lock"} == before
    await server.start()


async def test_servers_told_of_different_members_do_not_mix(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(tmp_path)
    misled = fleet.servers["n3"]
    assert misled.member is not None
    misled.member = replace(misled.member, initial={**fleet.peers, "n1": "127.0.0.1:9"})
    starting = asyncio.create_task(misled.start())
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(fleet.servers[name].start() for name in ("n1", "n2")))
            async with fleet.servers["n1"].connect() as client:
                await client.create(config_map("made"))
            await until(lambda: "belongs to the cluster" in caplog.text)
        assert not starting.done()
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await fleet.stop()


async def test_the_stores_door_is_read_only(fleet: Fleet) -> None:
    connection = kubeconfig.load(fleet.paths("n1").kubeconfig("admin"))
    async with store_client(connection) as client:
        before = await client.range("/")
        with pytest.raises(StoreRefused, match="write through the API"):
            await client.txn([Compare("/x", 0)], [Put("/x", b"1")])
        with pytest.raises(StoreRefused):
            await client.compact(before.revision)
        with pytest.raises(StoreRefused):
            await client.grant_lease(10.0)
        after = await client.range("/")
        assert (after.revision, after.items) == (before.revision, before.items)


async def test_a_removed_member_ends_and_says_why(fleet: Fleet) -> None:
    joined = fleet.joining("n2")
    first = fleet.servers["n1"].store
    await first.add_member("n2", fleet.peers["n2"])
    await joined.start()
    async with asyncio.timeout(PATIENCE):
        await first.remove_member("n2")
        with pytest.raises(ExceptionGroup) as ended:
            await joined.ended()
    assert ended.group_contains(Fatal, match="the store has failed: .*n2 .*member")
    async with fleet.servers["n1"].connect() as client:
        await client.create(config_map("alone"))
