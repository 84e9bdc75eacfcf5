"""Keys, continue tokens, store errors, callers: the small translations at the server's edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import Container, Deployment, Node, ObjectMeta, Pod, PodSpec
from orchestrator.pki import Identity
from orchestrator.server.caller import Caller, authenticate, authorize
from orchestrator.server.keys import Key, object_key, prefix_of, split_path
from orchestrator.server.listing import MAX_REVISION, Position
from orchestrator.server.store_errors import store_errors_mapped, to_api_error
from orchestrator.server.streams import address_of, check_container
from orchestrator.store import (
    Compacted,
    FutureRevision,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    ValueTooLarge,
    WatcherTooSlow,
)


def test_keys() -> None:
    assert Key(kind_of(Pod), "default", "web").path == "/pods/default/web"
    assert Key(kind_of(Node), "", "n1").path == "/nodes//n1"
    assert Key(kind_of(Deployment), "default", "web").path == "/deployments.apps/default/web"
    assert split_path("/nodes//n1") == ("nodes", "", "n1")
    assert split_path("/allocations/clusterip/10.96.0.1") == ("allocations", "clusterip", "10.96.0.1")
    assert prefix_of(kind_of(Pod), "") == "/pods/"
    assert prefix_of(kind_of(Pod), "team") == "/pods/team/"
    assert prefix_of(kind_of(Node), "") == "/nodes//"


@pytest.mark.parametrize(("namespace", "name"), [("", "web"), ("default", ""), ("default", "a/b"), ("a/b", "web")])
def test_bad_keys(namespace: str, name: str) -> None:
    with pytest.raises(errors.BadRequest):
        object_key(kind_of(Pod), namespace, name)


@given(st.integers(1, MAX_REVISION), st.text(max_size=100), st.integers(0, MAX_REVISION))
def test_continue_tokens_come_back(revision: int, after: str, seen: int) -> None:
    position = Position(revision, after, seen)
    assert Position.parse(position.token()) == position


@given(st.text(max_size=60))
def test_other_tokens_are_refused(text: str) -> None:
    with pytest.raises(errors.BadRequest, match="continue key is not valid"):
        Position.parse(text)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Compacted(7), errors.Expired),
        (FutureRevision(9, 7), errors.Timeout),
        (WatcherTooSlow(7, 100), errors.ServiceUnavailable),
        (StoreUnavailable("closed"), errors.ServiceUnavailable),
        (StoreBusy("too many writes"), errors.ServiceUnavailable),
        (StoreCorrupt("segment 3"), errors.InternalError),
        (ValueTooLarge("the value", 9, 8), errors.RequestEntityTooLarge),
        (StoreError("strange"), errors.InternalError),
    ],
)
def test_store_errors(error: StoreError, expected: type[errors.ApiError]) -> None:
    assert type(to_api_error(error)) is expected
    with pytest.raises(expected) as caught, store_errors_mapped():
        raise error
    assert caught.value.__cause__ is error
    with pytest.raises(type(error)), store_errors_mapped(letting=type(error)):
        raise error


def test_only_the_nameless_are_refused() -> None:
    authorize(Caller(Identity("system:node:n1", ()), "ipv4:127.0.0.1:1"), "get", "pods", "default", "web")
    with pytest.raises(errors.Forbidden, match='pods "web" is forbidden: an anonymous caller cannot get'):
        authorize(Caller(Identity("", ()), "ipv4:127.0.0.1:1"), "get", "pods", "default", "web")
    with pytest.raises(errors.Unauthorized):
        authenticate(b"no certificate")


@pytest.mark.parametrize(("container", "fine"), [("a", True), ("b", True), ("setup", True), ("", False), ("c", False)])
def test_containers(container: str, fine: bool) -> None:
    pod = Pod(
        metadata=ObjectMeta(name="web"),
        spec=PodSpec(init_containers=[Container(name="setup")], containers=[Container(name="a"), Container(name="b")]),
    )
    if fine:
        check_container(pod, container)
    else:
        with pytest.raises(errors.BadRequest):
            check_container(pod, container)


@pytest.mark.parametrize(
    ("addresses", "port", "target"),
    [
        ([("InternalIP", "192.0.2.1")], 7450, "192.0.2.1:7450"),
        ([("Hostname", "n1"), ("InternalIP", "192.0.2.1"), ("InternalIP", "2001:db8::1")], 7451, "192.0.2.1:7451"),
        ([("InternalIP", "2001:db8::1")], 0, "[2001:db8::1]:7450"),
        ([("Hostname", "n1")], 0, "n1:7450"),
    ],
)
def test_node_addresses(addresses: list[tuple[str, str]], port: int, target: str) -> None:
    node = Node(metadata=ObjectMeta(name="n1"))
    for kind, address in addresses:
        node.status.addresses.add(type=kind, address=address)
    node.status.daemon_endpoints.kubelet_endpoint.port = port
    assert (address_of(node).node, address_of(node).target) == ("n1", target)


def test_a_node_without_an_address() -> None:
    with pytest.raises(errors.ServiceUnavailable, match='node "n1" has no address yet'):
        address_of(Node(metadata=ObjectMeta(name="n1")))
