"""The ledger's promise: whatever the order of updates, the changes it hands out add up to what the owners claim now."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from agents.proxy.conntrack import StaleFlow, stale_flows
from agents.proxy.routes import Backend, Frontend, Route, Routes, service_routes
from agents.proxy.ruleset import Element, Ledger, change_table, picker, route_elements
from orchestrator.api.v1 import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort, ServiceSpec

addresses = st.sampled_from(["", "10.96.0.1", "10.96.0.2"])
frontends = st.builds(Frontend, addresses, st.sampled_from(["tcp", "udp"]), st.sampled_from([53, 80]))
backends = st.builds(
    Backend, st.sampled_from(["10.244.0.2", "10.244.0.3"]), st.sampled_from([8080, 8081]), st.booleans()
)
routes = st.builds(
    Route, st.lists(backends, max_size=3, unique=True).map(tuple), sticky=st.booleans(), masquerade=st.booleans()
)
updates = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.dictionaries(frontends, routes, max_size=3)), max_size=12
)


@given(updates)
def test_changes_add_up(history: list[tuple[str, Routes]]) -> None:
    ledger = Ledger()
    kernel: dict[Element, str] = {}
    for owner, wanted in history:
        chains = set(ledger.pickers)
        change = ledger.update(owner, wanted)
        if change is None:
            assert ledger.pickers > chains, "the table is replaced only for a new chain"
            kernel = dict(ledger.everything().add)
            continue
        for element in change.remove:
            del kernel[element]
        for element, value in change.add.items():
            assert element not in kernel, "an element is removed before it gets another value"
            kernel[element] = value
    assert kernel == ledger.everything().add
    last = dict(history)
    assert set(kernel) == {e for owned in last.values() for f, r in owned.items() for e in route_elements(f, r)}
    assert {picker(f, r) for owned in last.values() for f, r in owned.items() if r.backends} <= ledger.pickers


@given(updates)
def test_a_repeated_update_changes_nothing(history: list[tuple[str, Routes]]) -> None:
    ledger = Ledger()
    for owner, wanted in history:
        ledger.update(owner, wanted)
    for owner, wanted in dict(history).items():
        change = ledger.update(owner, wanted)
        assert change is not None
        assert change_table(change) == ""


def test_the_first_owner_by_name_keeps_a_contested_port() -> None:
    port, slot = Frontend("", "tcp", 80), Element("node_port_backends", "tcp . 80 . 0")
    mine, yours = (Route((Backend(address, 80, False),)) for address in ("10.244.0.2", "10.244.0.3"))
    ledger = Ledger()
    ledger.update("b", {port: yours})
    ledger.update("a", {port: mine})
    assert ledger.everything().add[slot] == "10.244.0.2 . 80"
    change = ledger.update("a", {})
    assert change is not None
    assert change.add[slot] == "10.244.0.3 . 80"


def test_stale_flows() -> None:
    dns = Frontend("10.96.0.10", "udp", 53)
    web = Frontend("10.96.0.10", "tcp", 80)
    one, two = Backend("10.244.0.2", 53, True), Backend("10.244.0.3", 53, True)
    assert stale_flows({dns: Route((one, two))}, {dns: Route((two,))}) == [StaleFlow(dns, "10.244.0.2")]
    assert stale_flows({dns: Route((one,))}, {}) == [StaleFlow(dns, "10.244.0.2")]
    assert stale_flows({dns: Route()}, {dns: Route((one,))}) == [StaleFlow(dns)]
    assert stale_flows({web: Route((one,))}, {}) == [], "TCP connections end by themselves"


@given(address=st.text(), external=st.text(), protocol=st.text(), port=st.integers(-(2**31), 2**31 - 1))
@example(address="1.2.3.4 } ; flush ruleset", external="1.2.3.4\n", protocol="TCP", port=80)
def test_no_object_can_say_anything_but_addresses_and_ports(
    address: str, external: str, protocol: str, port: int
) -> None:
    service = Service(
        spec=ServiceSpec(
            cluster_ip="10.96.0.10",
            external_ips=[external, address],
            ports=[ServicePort(port=80, node_port=port), ServicePort(port=port, protocol=protocol)],
        )
    )
    piece = EndpointSlice(
        address_type="IPv4",
        ports=[EndpointPort(name="", port=port)],
        endpoints=[Endpoint(addresses=[address]), Endpoint(addresses=[external])],
    )
    ledger = Ledger()
    change = ledger.update("x", service_routes(service, [piece], "n1")) or ledger.everything()
    for line in change_table(change).splitlines():
        assert re.fullmatch(r"add element ip navarch [a-z_]+ \{ [a-z0-9_.,: ]* \}", line), line
