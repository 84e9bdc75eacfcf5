"""Members of the store on the command line: what is taken, what is refused and why; and how they are shown."""

from __future__ import annotations

import pytest

from cli.commands.member import document, next_steps, rows, voting
from cli.commands.up import own_server, store_arguments
from cli.daemons import Settings
from cli.failure import Failure
from cli.members import check_address, check_name, read_members
from cli.navarch import parse
from orchestrator.kubeconfig import Connection
from orchestrator.paths import Paths
from orchestrator.store import MemberList, MemberStatus

THREE = "n1=10.0.0.1:7444,n2=10.0.0.2:7444,n3=10.0.0.3:7444"
KNOWN = MemberList(
    "0123456789abcdef",
    [
        MemberStatus("n2", "10.0.0.2:7444", learner=False, leader=False, match_index=7, reachable=False),
        MemberStatus("n1", "10.0.0.1:7444", learner=False, leader=True, match_index=9, reachable=True),
        MemberStatus("n3", "", learner=True, leader=False, match_index=0, reachable=True),
    ],
)


@pytest.mark.parametrize("address", ["10.0.0.2:7444", "[fd00::2]:7444", "n2.example:1", "n2:65535"])
def test_addresses_that_are_taken(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize(
    "address",
    ["", "10.0.0.2", "10.0.0.2:", ":7444", "10.0.0.2:0", "10.0.0.2:65536", "10.0.0.2:x", "fd00::2:7444", "[fd00::2]",
     "0.0.0.0:7444", "[::]:7444", "[n2]]:7444:", "[n2]:7444", "10.0.0.2 x:7444", "n2;x:7444", "-n2:7444",
     "10.0.0.2:-1", "10.0.0.2:٣"],
)  # fmt: skip
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(Failure, match="write"):
        check_address(address)


@pytest.mark.parametrize("address", ["0.0.0.0:7444", "[::]:7444", "127.0.0.1:0"])
def test_where_one_listens_may_be_everywhere(address: str) -> None:
    assert check_address(address, everywhere=True) == address


@pytest.mark.parametrize("name", ["", "N2", "n_2", "-n2", "n2-", "n2/x", "ü", "a" * 254])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(Failure, match="is no name for a member"):
        check_name(name)


def test_the_members_of_a_new_cluster() -> None:
    assert read_members(THREE, "n2") == {"n1": "10.0.0.1:7444", "n2": "10.0.0.2:7444", "n3": "10.0.0.3:7444"}
    assert read_members("", "n2") == {}
    assert read_members(" n2=a:1 ,", "n2") == {"n2": "a:1"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("n2", "write NAME=HOST:PORT"),
        ("n2=", "write HOST:PORT"),
        ("n2=10.0.0.2:7444,n2=10.0.0.3:7444", '"n2" is named twice'),
        ("n2=10.0.0.2:7444,n3=10.0.0.2:7444", "is given to two members"),
        ("n1=10.0.0.1:7444", 'this machine, "n2", is not among the members n1'),
    ],
)
def test_members_that_make_no_cluster(text: str, why: str) -> None:
    with pytest.raises(Failure, match=why):
        read_members(text, "n2")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--store-members=n1"], "write NAME=HOST:PORT"),
        (["--store-members=n1=10.0.0.1:7444", "--store-join"], "give one of them"),
        (["--store-listen=7444"], "write HOST:PORT"),
        (["--store-address=0.0.0.0:7444"], "everywhere and nowhere"),
    ],
)
def test_a_daemon_refuses_them_at_its_start(flags: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["server", "--node-name=n1", *flags])
    assert why in capsys.readouterr().err


def test_up_hands_on_what_it_is_told() -> None:
    settings = Settings(
        Paths(), "n1", "10.0.0.1", store_members=read_members(THREE, "n1"), store_address="10.0.0.1:7444"
    )
    given = parse(["server", "--node-name=n1", *store_arguments(settings)])
    assert given.store_members == settings.store_members
    assert given.store_address == settings.store_address
    assert not given.store_join
    joining = parse(["server", *store_arguments(Settings(Paths(), "n1", "10.0.0.1", store_join=True))])
    assert joining.store_join
    assert not joining.store_members


def test_the_table_of_members() -> None:
    assert rows(KNOWN, wide=True) == [
        ["NAME", "ADDRESS", "ROLE", "STATUS", "MATCHED"],
        ["n1", "10.0.0.1:7444", "leader", "Reachable", "9"],
        ["n2", "10.0.0.2:7444", "voter", "Unreachable", "7"],
        ["n3", "<none>", "learner", "Reachable", "0"],
    ]
    assert [row[:1] for row in rows(KNOWN, wide=False)] == [["NAME"], ["n1"], ["n2"], ["n3"]]
    leaderless = MemberList("", [KNOWN.members[0]])
    assert rows(leaderless, wide=False)[1] == ["n2", "10.0.0.2:7444", "voter", "Unknown"], "who would know?"


def test_the_members_as_a_document() -> None:
    shown = document(KNOWN)
    assert isinstance(shown, dict)
    assert shown["cluster"] == "0123456789abcdef"
    assert shown["items"][0] == {  # type: ignore[index]
        "name": "n1",
        "address": "10.0.0.1:7444",
        "role": "leader",
        "reachable": True,
        "matchIndex": 9,
    }


@pytest.mark.parametrize(("voters", "spare"), [(1, "none"), (2, "none"), (3, "1"), (4, "1"), (5, "2")])
def test_how_many_may_fail(voters: int, spare: str) -> None:
    members = [MemberStatus(f"n{n}", "", False, n == 0, 0, True) for n in range(voters)]
    learner = MemberStatus("l", "", True, False, 0, True)
    assert voting(MemberList("", [*members, learner])) == f"{voters} with a vote, of which {spare} may fail"


def test_what_is_to_be_done_on_the_new_machine() -> None:
    told = next_steps("n4", "10.0.0.4:7444", voters=3)
    assert "scp /etc/navarch/pki/ca.crt /etc/navarch/pki/ca.key 10.0.0.4:/etc/navarch/pki/" in told
    assert "navctl up --node-name n4 --node-address 10.0.0.4 --store-address 10.0.0.4:7444 --store-join\n" in told
    assert told.endswith("navctl member promote n4")
    assert "--store-listen 0.0.0.0:7544 --store-join" in next_steps("n4", "10.0.0.4:7544", voters=3)
    assert "--node-address fd00::4 --store-address [fd00::4]:7444" in next_steps("n4", "[fd00::4]:7444", voters=3)


def test_up_waits_for_the_server_of_its_own_machine() -> None:
    three = Connection("127.0.0.1:7443,10.0.0.2:7443,10.0.0.3:7443", b"ca", b"certificate", b"key", "default")
    assert own_server(three).address == "127.0.0.1:7443"
    assert own_server(own_server(three)).address == "127.0.0.1:7443"
