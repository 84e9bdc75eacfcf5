"""`navctl member` and `navctl store` against real servers: one becomes three, and one of them is replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.api.v1 import ConfigMap
from tests.integration.cli.commands import Navctl, line_of
from tests.integration.fleet import Fleet
from tests.integration.running import RunningServer
from tests.integration.server.objects import config_map, pod, service


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """One server, which others can join."""
    fleet = Fleet(tmp_path, ("n1",))
    await fleet.start()
    monkeypatch.setenv("KUBECONFIG", str(fleet.paths("n1").kubeconfig("admin")))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield fleet
    await fleet.stop()


async def join(fleet: Fleet, navctl: Navctl, name: str) -> RunningServer:
    server = fleet.joining(name)
    told = await navctl.ok("member", "add", name, fleet.peers[name])
    assert told.startswith(f"member/{name} added: it gets the log, and has no vote yet\n")
    await server.start()
    await navctl.ok("member", "promote", name)
    return server


async def test_one_becomes_three_and_a_dead_one_is_replaced(fleet: Fleet) -> None:
    navctl = Navctl()
    async with fleet.servers["n1"].connect() as client:
        await client.create(config_map("before"))
    assert [row[:4] for row in (await navctl("member", "list")).rows] == [
        ["NAME", "ADDRESS", "ROLE", "STATUS"],
        ["n1", fleet.peers["n1"], "leader", "Reachable"],
    ]
    await join(fleet, navctl, "n2")
    third = await join(fleet, navctl, "n3")
    async with third.connect() as client:
        assert (await client.get(ConfigMap, "before", "default")).metadata.name == "before"
        await client.create(config_map("after"))
    told = json.loads(await navctl.ok("member", "list", "-o", "json"))
    assert [(each["name"], each["reachable"]) for each in told["items"]] == [("n1", True), ("n2", True), ("n3", True)]
    assert sorted(each["role"] for each in told["items"]) == ["leader", "voter", "voter"]

    await fleet.servers.pop("n2").stop()  # its machine burns
    async with asyncio.timeout(30):
        while True:
            removed = await navctl("member", "remove", "n2")
            if removed.code == 0:
                break
            assert "n2" in removed.err or "leader" in removed.err, removed
    assert removed.out.startswith("member/n2 removed: 2 with a vote, of which none may fail\n")
    fourth = await join(fleet, navctl, "n4")
    roles = [(row[0], row[2]) for row in (await navctl("member", "list")).rows[1:]]
    assert sorted(role for _, role in roles) == ["leader", "voter", "voter"]
    assert [name for name, _ in roles] == ["n1", "n3", "n4"]
    async with fourth.connect() as client:
        for name in ("before", "after"):
            assert (await client.get(ConfigMap, name, "default")).metadata.name == name


async def test_leadership_can_be_handed_over(fleet: Fleet) -> None:
    navctl = Navctl()
    await join(fleet, navctl, "n2")
    assert await navctl.ok("member", "transfer", "n2") == "leadership transferred: n2 leads\n"
    assert await fleet.leader() == "n2"
    assert await navctl.ok("member", "transfer") == "leadership transferred: n1 leads\n"


async def test_a_member_moves(fleet: Fleet) -> None:
    navctl = Navctl()
    await navctl.ok("member", "add", "n2", "10.0.0.2:7444")
    assert await navctl.ok("member", "move", "n2", "10.0.0.3:7444") == "member/n2 moved to 10.0.0.3:7444\n"
    told = json.loads(await navctl.ok("member", "list", "-o", "json"))
    assert told["items"][1]["address"] == "10.0.0.3:7444"
    assert (told["items"][1]["role"], told["items"][1]["reachable"]) == ("learner", False)
    assert await navctl.ok("member", "list", "-o", "name") == "member/n1\nmember/n2\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("add", "n2", "10.0.0.2"), '"10.0.0.2" is no address of a member'),
        (("add", "n2", "0.0.0.0:7444"), "everywhere and nowhere"),
        (("add", "N_2", "10.0.0.2:7444"), '"N_2" is no name for a member'),
        (("add", "n1", "10.0.0.2:7444"), "there is a member n1 already"),
        (("remove", "n9"), "there is no member n9"),
        (("promote", "n9"), "there is no member n9"),
        (("move", "n9", "10.0.0.9:7444"), "there is no member n9"),
        (("transfer", "n9"), "there is no member n9"),
        (("remove", "n1"), "n1 is the last member with a vote (bring others back, or add and promote some, first"),
    ],
)
async def test_changes_that_are_refused(fleet: Fleet, arguments: tuple[str, ...], why: str) -> None:
    navctl = Navctl()
    before = await navctl.ok("member", "list")
    assert why in await navctl.fails("member", *arguments)
    assert await navctl.ok("member", "list") == before


async def test_a_member_that_never_came_gets_no_vote(fleet: Fleet) -> None:
    navctl = Navctl()
    await navctl.ok("member", "add", "n2", "127.0.0.1:9")
    assert "see that it runs" in await navctl.fails("member", "promote", "n2", "--timeout", "0")
    assert (await navctl.ok("member", "remove", "n2")).startswith("member/n2 removed: 1 with a vote")


async def test_only_administrators_ask_the_store(fleet: Fleet) -> None:
    navctl = Navctl()
    node = ("--kubeconfig", str(fleet.paths("n1").kubeconfig("node")))
    for command in (
        ("member", "list"),
        ("member", "add", "n2", "10.0.0.2:7444"),
        ("member", "remove", "n1"),
        ("store", "get", "/secrets/default/x"),
        ("store", "range", "/secrets/"),
        ("store", "watch", "/"),
        ("store", "status"),
        ("snapshot", "save", str(fleet.directory / "stolen")),
    ):
        result = await navctl(*command, *node)
        assert result.code == 1
        assert '"system:node:n1" may not ask the store itself' in result.err, command
        assert "administrator's kubeconfig" in result.err
        assert not result.out
    assert not list(fleet.directory.glob("*stolen*"))


async def test_what_is_stored(api: RunningServer, navctl: Navctl) -> None:
    async with api.connect() as client:
        web = await client.create(pod("web", labels={"app": "web"}))
        svc = await client.create(service("web"))
    shown = await navctl.ok("store", "get", "/pods/default/web")
    assert f"modRevision: {web.metadata.resource_version}\n" in shown
    assert "  kind: Pod\n" in shown
    told = json.loads(await navctl.ok("store", "get", "/pods/default/web", "-o", "json"))
    assert told["value"]["metadata"]["labels"] == {"app": "web"}
    assert (
        await navctl.ok("store", "get", f"/allocations/clusterip/{svc.spec.cluster_ip}", "-o", "raw")
    ) == "default/web"
    dump = await navctl.ok("store", "get", f"/allocations/clusterip/{svc.spec.cluster_ip}", "-o", "hex")
    assert dump == "00000000  64 65 66 61 75 6c 74 2f 77 65 62                 default/web\n"
    assert await navctl.ok("store", "get", "/pods/default/web", "-o", "jsonpath={.value.kind}") == "Pod"
    assert 'there is no key "/pods/default/none"' in await navctl.fails("store", "get", "/pods/default/none")
    assert 'can\'t be shown as "name"' in await navctl.fails("store", "get", "/pods/default/web", "-o", "name")


async def test_a_range_of_keys(api: RunningServer, navctl: Navctl) -> None:
    async with api.connect() as client:
        made = [await client.create(config_map(f"c{n:03}", n=str(n))) for n in range(7)]
        await client.delete(ConfigMap, "c006", namespace="default")
    rows = (await navctl("store", "range", "/configmaps/")).rows
    assert rows[0] == ["KEY", "CREATED", "MODIFIED", "SIZE"]
    assert [row[0] for row in rows[1:]] == [f"/configmaps/default/c00{n}" for n in range(6)]
    assert rows[1][1] == made[0].metadata.resource_version
    assert await navctl.ok("store", "range", "/configmaps/", "--count") == "6\n"
    names = await navctl.ok("store", "range", "/configmaps/", "--limit", "2", "-o", "name")
    assert names == "/configmaps/default/c000\n/configmaps/default/c001\n"
    then = made[-1].metadata.resource_version
    assert await navctl.ok("store", "range", "/configmaps/", "--revision", then, "--count") == "7\n"
    assert "No keys found" in (await navctl("store", "range", "/nothing/")).err
    assert "revision" in await navctl.fails("store", "range", "/", "--revision", "99999")
    assert "not in the range" in await navctl.fails("store", "range", "/", "--limit", "-1")


async def test_watching_the_store(api: RunningServer, navctl: Navctl) -> None:
    async with api.connect() as client:
        made = await client.create(config_map("seen"))
        after = str(int(made.metadata.resource_version) - 1)
        async with navctl.process("store", "watch", "/configmaps/", "--after", after) as process:
            assert (await line_of(process.stdout)).split()[:3] == [
                made.metadata.resource_version,
                "PUT",
                "/configmaps/default/seen",
            ]
            gone = await client.delete(ConfigMap, "seen", namespace="default")
            assert (await line_of(process.stdout)).split() == [
                gone.metadata.resource_version,
                "DELETE",
                "/configmaps/default/seen",
            ]
        async with navctl.process("store", "watch", "/configmaps/", "--after", after, "-o", "json") as process:
            told = json.loads(await line_of(process.stdout))
            assert (told["change"], told["value"]["kind"]) == ("PUT", "ConfigMap")
    assert "revision" in await navctl.fails("store", "watch", "/", "--after", "99999")


async def test_how_the_store_does(fleet: Fleet) -> None:
    navctl = Navctl()
    await join(fleet, navctl, "n2")
    both = ",".join(server.address for server in fleet.servers.values())
    path = fleet.paths("n1").kubeconfig("admin")
    content = json.loads(path.read_text())
    content["clusters"][0]["cluster"]["extensions"][0]["extension"]["grpc"] = both
    everywhere = fleet.directory / "everywhere.conf"
    everywhere.write_text(json.dumps(content))
    flag = ("--kubeconfig", str(everywhere))
    rows = (await navctl("store", "status", *flag)).rows
    assert [(row[0], row[2]) for row in rows[1:]] == [("n1", "leader"), ("n2", "voter")]
    told = json.loads(await navctl.ok("store", "status", "-o", "json", *flag))["items"]
    assert told[0]["leader"] == told[1]["leader"] == "n1"
    assert len({each["cluster"] for each in told}) == 1
    await fleet.servers["n2"].stop()
    result = await navctl("store", "status", *flag)
    assert result.code == 1
    assert [row[0] for row in result.rows[1:]] == ["n1"]
    assert fleet.servers["n2"].address in result.err
