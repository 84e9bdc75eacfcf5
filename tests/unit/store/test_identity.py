"""To whom a directory belongs, and who is let in by a greeting: a stranger changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Put, StoreCorrupt, WrongIdentity, open_store
from orchestrator.store.configurations import Configurations, decode_configuration, encode_configuration
from orchestrator.store.greeting import VERSION, judge
from orchestrator.store.identity import FILE_NAME, Identity
from orchestrator.store.membership import Configuration, MemberInfo, Members
from orchestrator.store.v1.raft_pb2 import Hello
from orchestrator.store.wire import NoWire

OWN = Identity("ours", "a")
NOW = Configuration(
    (MemberInfo("a", ""), MemberInfo("b", ""), MemberInfo("c", "", since=30), MemberInfo("d", "", True, since=40)), 40
)


def contents(directory: Path) -> dict[str, int]:
    return {path.name: hash(path.read_bytes()) for path in directory.iterdir() if path.name != "lock"}


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (Members("b"), "belongs to the member a, not to b"),
        (Members("a", cluster="other"), "belongs to the cluster ours, not to other"),
        (Members("b", join=True), "belongs to the member a, not to b"),
    ],
    ids=["another member's", "another cluster's", "one who wants to join"],
)
async def test_another_s_directory_is_refused_and_left_alone(tmp_path: Path, members: Members, why: str) -> None:
    store = await open_store(tmp_path, clock=SystemClock(), members=Members("a", cluster="ours"))
    await store.txn([], [Put("/a", b"1")])
    await store.close()
    before = contents(tmp_path)
    with pytest.raises(WrongIdentity, match=why):
        await open_store(tmp_path, clock=SystemClock(), members=members, wire=NoWire())
    assert contents(tmp_path) == before
    again = await open_store(tmp_path, clock=SystemClock(), members=Members("a"))
    assert (await again.range("/")).revision == 2
    await again.close()


async def test_a_directory_of_a_time_before_identities_gets_one_but_joins_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path, clock=SystemClock(), members=Members("a"))
    await store.close()
    (tmp_path / FILE_NAME).unlink()
    before = contents(tmp_path)
    with pytest.raises(WrongIdentity, match="begins with an empty directory"):
        await open_store(tmp_path, clock=SystemClock(), members=Members("a", join=True), wire=NoWire())
    assert contents(tmp_path) == before
    store = await open_store(tmp_path, clock=SystemClock(), members=Members("a", cluster="ours"))
    assert (await store.members()).cluster == "ours"
    await store.close()
    assert b"ours" in (tmp_path / FILE_NAME).read_bytes()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"version": 2, "cluster": "c", "member": "a"}', b"\xff"])
async def test_a_damaged_identity_is_refused(tmp_path: Path, damage: bytes) -> None:
    store = await open_store(tmp_path, clock=SystemClock())
    await store.close()
    (tmp_path / FILE_NAME).write_bytes(damage)
    before = contents(tmp_path)
    with pytest.raises(StoreCorrupt, match="identity"):
        await open_store(tmp_path, clock=SystemClock())
    assert contents(tmp_path) == before


async def test_a_lone_member_makes_up_its_cluster_once(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        store = await open_store(tmp_path / "a", clock=SystemClock())
        ids.add((await store.members()).cluster)
        await store.close()
    store = await open_store(tmp_path / "b", clock=SystemClock())
    ids.add((await store.members()).cluster)
    await store.close()
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("name", "hello", "why"),
    [
        ("b", Hello(cluster="ours", member="b", since=1), None),
        ("c", Hello(cluster="ours", member="c", since=30), None),
        ("c", Hello(cluster="ours", member="c", since=50), None),
        ("d", Hello(member="d"), None),
        ("d", Hello(cluster="ours", member="d", since=40), None),
        ("e", Hello(cluster="ours", member="e", since=41), None),
        ("b", Hello(cluster="theirs", member="b", since=1), "belongs to the cluster 'theirs'"),
        ("b", Hello(cluster="ours", member="c", since=1), "its certificate is that of 'b'"),
        ("b", Hello(member="b"), "comes with an empty directory"),
        ("x", Hello(member="x"), "is no member of this store"),
        ("e", Hello(cluster="ours", member="e", since=40), "no member of this store any more"),
        ("c", Hello(cluster="ours", member="c", since=1), "no member of this store any more"),
    ],
    ids=[
        "a member",
        "a member that took another's place",
        "one that is ahead",
        "a learner that knows nothing yet",
        "a learner",
        "a member unknown here, later than all that is",
        "another cluster's",
        "another's certificate",
        "a voter that lost its directory",
        "a stranger",
        "one that was removed",
        "the one whose place was taken",
    ],
)
def test_who_is_let_in(name: str, hello: Hello, why: str | None) -> None:
    hello.version = VERSION
    verdict = judge(OWN, NOW, NOW, name, hello)
    assert (verdict is None) == (why is None)
    if verdict is not None:
        assert why is not None
        assert why in verdict.why
        assert (verdict.removed is not None) == ("any more" in why)


def test_who_waits_to_be_taken_in_lets_anybody_in_who_speaks_its_language() -> None:
    waiting = Identity("", "d", since=0)
    nothing = Configuration()
    assert judge(waiting, nothing, nothing, "a", Hello(cluster="any", member="a", version=VERSION, since=1)) is None
    assert judge(waiting, nothing, nothing, "a", Hello(cluster="any", member="a", version=1, since=1)) is not None


def test_configurations_are_in_force_from_their_entry_and_until_it_is_dropped() -> None:
    one, two, three = (Configuration(NOW.members[: number + 1], number + 5) for number in range(3))
    entries = [(b"\x02" + encode_configuration(each), each.index, 1) for each in (two, three)]
    configurations = Configurations(one, [(b"\x00other", 3, 1), *entries])
    assert configurations.latest == three
    assert [configurations.at(index) for index in (5, 6, 7, 99)] == [one, two, three, three]
    assert configurations.truncated(7)
    assert configurations.latest == two
    assert not configurations.truncated(7)
    configurations.applied(6)
    assert configurations.at(6) == two
    configurations.installed(50, Configuration(NOW.members, 40))
    assert configurations.latest == NOW
    with pytest.raises(StoreCorrupt):
        configurations.appended(entries[0][0], 51)


@pytest.mark.parametrize(
    "data",
    [b"\x80", encode_configuration(Configuration((MemberInfo("a", ""), MemberInfo("a", "")), 1))],
    ids=["no protobuf", "a name twice"],
)
def test_a_damaged_configuration_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        decode_configuration(data)
    assert decode_configuration(encode_configuration(NOW)) == NOW
