"""`navctl snapshot`: saved from a running server, checked, and restored into a cluster that begins with it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from orchestrator.api.v1 import ConfigMap
from orchestrator.client import Informer
from orchestrator.paths import Paths
from orchestrator.server.membership import StoreMember
from orchestrator.store.files import DiskFiles
from orchestrator.store.interface import KeyValue
from orchestrator.store.log import Base
from orchestrator.store.snapshot import Beside, SnapshotWriter, snapshot_name
from tests.integration.cli.commands import Navctl
from tests.integration.fleet import NAMES, Fleet
from tests.integration.running import RunningServer
from tests.integration.server.objects import config_map


@pytest.fixture
async def backup(api: RunningServer, navctl: Navctl, tmp_path: Path) -> Path:
    async with api.connect() as client:
        for n in range(20):
            await client.create(config_map(f"c{n}", n=str(n)))
    path = tmp_path / "backup"
    result = await navctl("snapshot", "save", str(path))
    assert result.code == 0, result
    assert result.out.startswith(f"{path} saved: revision ")
    assert "✓ saving" in result.err
    return path


def others(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir() if each.name.startswith(".")]


async def test_what_was_saved_is_the_whole_store(api: RunningServer, navctl: Navctl, backup: Path) -> None:
    assert (await navctl.ok("snapshot", "verify", str(backup))).startswith(f"{backup} is sound: revision ")
    told = json.loads(await navctl.ok("snapshot", "status", str(backup), "-o", "json"))
    keys = (await api.store.range("")).items
    assert told["keys"] == len(keys)
    assert told["revision"] == api.store.status().revision
    assert told["fileSize"] == backup.stat().st_size
    rows = (await navctl("snapshot", "status", str(backup), "-o", "wide")).rows
    assert rows[0][:2] == ["REVISION", "KEYS"]
    assert not others(backup.parent)
    assert backup.stat().st_mode & 0o077 == 0, "Secrets are in it"


async def test_a_cluster_begins_with_what_was_saved(
    api: RunningServer, navctl: Navctl, backup: Path, tmp_path: Path
) -> None:
    paths = Paths(tmp_path / "new")
    async with api.connect() as client:
        lost = await client.create(config_map("lost"))
        lost_at = lost.metadata.resource_version
    result = await navctl("snapshot", "restore", str(backup), "--root", str(paths.root), "--node-name", "n1")
    assert result.code == 0, result
    assert f"navctl up --root {paths.root} --node-name n1\n" in result.out
    server = RunningServer(paths, member=StoreMember("n1", listen="127.0.0.1:0"))
    await server.start()
    try:
        async with server.connect() as client:
            listed = await client.list(ConfigMap, namespace="default")
            assert {each.metadata.name for each in listed.items} == {f"c{n}" for n in range(20)}
            # Who has seen the old cluster's later writes is not told stories: it begins anew.
            informer = Informer(client, ConfigMap, namespace="default")
            informer._revision = informer._complete = int(lost_at)
            task = asyncio.create_task(informer.run())
            async with asyncio.timeout(20):
                await informer.reached(int(listed.resource_version))
            assert len(informer) == 20
            assert int((await client.create(config_map("new"))).metadata.resource_version) > int(lost_at)
            task.cancel()
    finally:
        await server.stop()


@pytest.mark.parametrize("size", [0, 1, 100, -1])
async def test_a_snapshot_cut_short_is_refused(navctl: Navctl, backup: Path, tmp_path: Path, size: int) -> None:
    backup.write_bytes(backup.read_bytes()[:size])
    await refused(navctl, backup, tmp_path / "new")


async def test_an_altered_byte_is_seen(navctl: Navctl, backup: Path, tmp_path: Path) -> None:
    data = bytearray(backup.read_bytes())
    data[len(data) // 2] ^= 1
    backup.write_bytes(data)
    await refused(navctl, backup, tmp_path / "new")


async def refused(navctl: Navctl, backup: Path, root: Path) -> None:
    for command in (("verify",), ("status",), ("restore", "--root", str(root), "--node-name", "n1")):
        result = await navctl("snapshot", command[0], str(backup), *command[1:])
        assert result.code == 1, command
        assert f"error: {backup}: the snapshot" in result.err
    assert not Paths(root).store.exists()


async def test_nothing_is_restored_over_something(
    api: RunningServer, navctl: Navctl, backup: Path, tmp_path: Path
) -> None:
    before = sorted(path.name for path in api.paths.store.iterdir())
    said = await navctl.fails("snapshot", "restore", str(backup), "--root", str(api.paths.root), "--node-name", "n1")
    assert f"{api.paths.store} is not empty" in said
    assert "navctl down" in said
    assert sorted(path.name for path in api.paths.store.iterdir()) == before


async def test_several_members_begin_with_one_snapshot(navctl: Navctl, backup: Path, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet")
    members = ",".join(f"{name}={address}" for name, address in fleet.peers.items())
    for name in NAMES:
        root = str(fleet.paths(name).root)
        result = await navctl(
            "snapshot", "restore", str(backup), "--root", root, "--node-name", name, "--store-members", members
        )
        assert result.code == 0, result
        assert f"--store-members {members}" in result.out
    identities = [json.loads((fleet.paths(name).store / "identity").read_bytes()) for name in NAMES]
    assert len({each["cluster"] for each in identities}) == 1
    try:
        async with asyncio.timeout(40):
            await fleet.start()
        for server in fleet.servers.values():
            async with server.connect() as client:
                listed = await client.list(ConfigMap, namespace="default")
                assert {each.metadata.name for each in listed.items} >= {f"c{n}" for n in range(20)}
                await client.create(config_map(f"by-{server.node_name}"))
        revisions = {server.store.status().revision for server in fleet.servers.values()}
        assert min(revisions) > 1_000_000_000
    finally:
        await fleet.stop()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("save", "/nonexistent/backup"), "there is no directory /nonexistent"),
        (("save", "/tmp"), "/tmp is a directory"),
        (("verify", "/nonexistent"), "/nonexistent: No such file or directory"),
        (("restore", "/nonexistent", "--root", "/nonexistent"), "No such file or directory"),
        (("restore", "x", "--node-name", "n1", "--store-members", "n2=10.0.0.2:7444"), "is not among the members"),
    ],
)
async def test_what_makes_no_sense(navctl: Navctl, arguments: tuple[str, ...], why: str) -> None:
    assert why in (await navctl("snapshot", *arguments)).err


async def test_a_failed_save_leaves_what_was_there(api: RunningServer, navctl: Navctl, backup: Path) -> None:
    before = backup.read_bytes()
    await api.stop()
    result = await navctl("snapshot", "save", str(backup))
    assert result.code == 1
    assert "navctl store status" in result.err
    assert backup.read_bytes() == before
    assert not others(backup.parent)


async def test_the_new_clusters_clients_are_not_sent_to_the_old_ones_servers(navctl: Navctl, tmp_path: Path) -> None:
    writer = SnapshotWriter(DiskFiles(), tmp_path, Base(50, 3), 100, Beside())
    writer.add([KeyValue(key, b"10.0.0.1:7443", 2, 2) for key in ("/nodes//n1", "/servers//n1", "/servers//n2")])
    writer.finish()
    saved, root = tmp_path / snapshot_name(50), tmp_path / "new"
    result = await navctl("snapshot", "restore", str(saved), "--root", str(root), "--node-name", "n1")
    assert "revision 1000000100, 1 keys" in result.out
