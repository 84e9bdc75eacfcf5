"""Addresses and ports: nobody gets one twice, everything given back can be had again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.v1 import ObjectMeta, Service, ServicePort, ServiceSpec
from orchestrator.server.allocation import Allocator, Claim, Pool, claim_of, reconcile_allocations, refusal

ADDRESS = frozenset({"10.96.0.9"})


def service(name: str = "web", *, type: str = "ClusterIP", ip: str = "", ports: tuple[int, ...] = (0,)) -> Service:
    return Service(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ServiceSpec(
            type=type,
            cluster_ip=ip,
            cluster_ips=[ip] if ip else [],
            ports=[ServicePort(port=80 + i, protocol="TCP", node_port=port) for i, port in enumerate(ports)],
        ),
    )


def an_allocator() -> Allocator:
    return Allocator(random.Random(1))


@pytest.mark.parametrize(
    ("obj", "claim"),
    [
        (service(ip="10.96.0.9"), Claim(ADDRESS)),
        (service(ip="None"), Claim()),
        (service(type="ExternalName", ip="10.96.0.9"), Claim()),
        (service(ip="10.96.0.9", ports=(30001,)), Claim(ADDRESS)),
        (service(type="NodePort", ip="10.96.0.9", ports=(30001, 30002)), Claim(ADDRESS, frozenset({30001, 30002}))),
        (service(type="LoadBalancer", ip="10.96.0.9", ports=(30001,)), Claim(ADDRESS, frozenset({30001}))),
    ],
)
def test_what_a_service_occupies(obj: Service, claim: Claim) -> None:
    assert claim_of(obj) == claim


class Model:
    """A store of allocations as transactions leave it, beside the allocator that is tested."""

    def __init__(self) -> None:
        self.allocator = an_allocator()
        self.keys: dict[str, bytes] = {}
        self.services: dict[str, Service] = {}

    def write(self, name: str, new: Service | None) -> None:
        allocation = self.allocator.allocate(self.services.get(name), new, f"default/{name}")
        taken = [path for path in allocation.asked if path in self.keys]
        if taken and new is not None:
            self.allocator.settle(allocation, written=False)
            self.allocator.learn(taken)
            raise refusal(new, taken)
        chosen = [compare.key for compare in allocation.compares if compare.key not in allocation.asked]
        assert not self.keys.keys() & chosen, "alone, the allocator's memory is exact"
        for operation in allocation.operations:
            if hasattr(operation, "value"):
                self.keys[operation.key] = operation.value
            else:
                del self.keys[operation.key]
        self.allocator.settle(allocation, written=True)
        if new is None:
            self.services.pop(name, None)
        else:
            self.services[name] = new


WRITES = st.lists(
    st.tuples(
        st.sampled_from("abcde"),
        st.one_of(
            st.none(),
            st.tuples(
                st.sampled_from(["ClusterIP", "NodePort", "ExternalName"]),
                st.sampled_from(["", "None", "10.96.0.1", "10.96.0.2", "10.97.0.1"]),
                st.lists(st.sampled_from([0, 0, 30000, 30001, 80]), max_size=3),
            ),
        ),
    ),
    max_size=30,
)


@given(WRITES)
@settings(max_examples=200, deadline=None)
def test_the_keys_are_always_just_what_the_services_occupy(
    writes: list[tuple[str, tuple[str, str, list[int]] | None]],
) -> None:
    model = Model()
    for name, wanted in writes:
        new = service(name, type=wanted[0], ip=wanted[1], ports=tuple(wanted[2])) if wanted else None
        try:
            model.write(name, new)
        except errors.Invalid as refused:
            assert "already allocated" in refused.message or "valid range" in refused.message
        claims = [claim_of(each) for each in model.services.values()]
        paths = [path for claim in claims for path in claim.paths()]
        assert sorted(paths) == sorted(model.keys), "each once, and no others"


def test_a_write_that_failed_gives_everything_back() -> None:
    allocator = an_allocator()
    one = service(type="NodePort")
    allocation = allocator.allocate(None, one, "default/web")
    assert allocation.fresh == claim_of(one)
    assert allocation.asked == ()
    allocator.settle(allocation, written=False)
    again = an_allocator()
    again._rng.setstate(allocator._rng.getstate())
    assert allocator.allocate(None, service(type="NodePort"), "x") == again.allocate(
        None, service(type="NodePort"), "x"
    )


def test_a_refused_service_keeps_nothing() -> None:
    allocator = an_allocator()
    with pytest.raises(errors.Invalid, match=r"10\.96\.0\.0/16"):
        allocator.allocate(None, service(type="NodePort", ip="192.0.2.1", ports=(30000,)), "default/web")
    allocator.allocate(None, service(type="NodePort", ports=(30000,)), "default/web")


def test_a_full_range_says_so_and_the_static_part_comes_last() -> None:
    pool = Pool(range(10), 3)
    rng = random.Random(1)
    given_out = [pool.take_free(rng) for _ in range(10)]
    assert set(given_out[:7]) == set(range(3, 10))
    assert set(given_out[7:]) == {0, 1, 2}
    assert pool.take_free(rng) is None


def test_what_others_hold_is_not_chosen_once_it_is_known() -> None:
    unknowing, knowing = an_allocator(), an_allocator()
    first = service(type="NodePort")
    unknowing.allocate(None, first, "default/web")
    knowing.learn(claim_of(first).paths())
    second = service(type="NodePort")
    knowing.allocate(None, second, "default/web")
    assert not claim_of(first).addresses & claim_of(second).addresses
    assert not claim_of(first).ports & claim_of(second).ports
    knowing.forget(claim_of(second).paths())
    knowing.load(claim_of(first).paths())
    taken = {number for pool in (knowing._addresses, knowing._ports) for number in pool.taken}
    assert len(taken) == 2, "of the first alone"
    knowing.load([])
    third = service(type="NodePort")
    fresh = an_allocator()
    fresh._rng.setstate(knowing._rng.getstate())
    fourth = service(type="NodePort")
    knowing.allocate(None, third, "default/web")
    fresh.allocate(None, fourth, "default/web")
    assert third == fourth, "loading forgets"


def test_a_refusal_names_each_field() -> None:
    wanted = service(type="NodePort", ip="10.96.0.9", ports=(30000, 30001))
    refused = refusal(wanted, ["/allocations/clusterip/10.96.0.9", "/allocations/nodeport/30001"])
    assert [cause.field for cause in refused.details.causes] == ["spec.clusterIPs", "spec.ports[1].nodePort"]
    assert "provided IP is already allocated" in refused.message
    assert "30001: provided port is already allocated" in refused.message


def test_healing() -> None:
    services = [service("a", ip="10.96.0.1"), service("b", type="NodePort", ip="10.96.0.2", ports=(30000,))]
    keys = ["/allocations/clusterip/10.96.0.1", "/allocations/clusterip/10.96.0.7", "/allocations/nodeport/30009"]
    missing, surplus = reconcile_allocations(services, keys)
    assert [(each.key, each.value) for each in missing] == [
        ("/allocations/clusterip/10.96.0.2", b"default/b"),
        ("/allocations/nodeport/30000", b"default/b"),
    ]
    assert [each.key for each in surplus] == ["/allocations/clusterip/10.96.0.7", "/allocations/nodeport/30009"]
    assert reconcile_allocations([], []) == ([], [])
