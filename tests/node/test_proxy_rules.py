"""The rules against a real kernel: who answers, with which addresses, what becomes of flows when backends change."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from agents.network.configuration import masquerade_table
from agents.proxy.conntrack import stale_flows
from agents.proxy.routes import Backend, Frontend, Route, Routes
from agents.proxy.ruleset import Ledger, change_table, replace_table
from tests.node.network_lab import NODE_ADDRESS, OUTSIDE_ADDRESS, Lab, network_lab
from tests.requires import require_program, require_root

VIP = "10.96.0.10"
A, B = Backend("10.244.0.2", 8080, True), Backend("10.244.0.3", 8080, True)
WEB, NODE_PORT = Frontend(VIP, "tcp", 80), Frontend("", "tcp", 30080)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    require_root()
    require_program("ip", "nft", "nsenter", "conntrack")
    with network_lab(pods=2) as lab:
        for pod in ("a", "b"):
            lab.serve(pod, "tcp", 8080)
            lab.serve(pod, "udp", 8080)
        lab.serve("outside", "tcp", 7000)
        yield lab


class Kernel:
    """Carries a ledger's transactions into the lab's node."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.ledger = Ledger()

    def replace(self, routes: Routes) -> None:
        self.ledger = Ledger()
        self.ledger.update("x", routes)
        self.lab.run("node", "nft", "-f", "-", text=replace_table(self.ledger))

    def change(self, routes: Routes) -> None:
        change = self.ledger.update("x", routes)
        text = replace_table(self.ledger) if change is None else change_table(change)
        self.lab.run("node", "nft", "-f", "-", text=text)


@pytest.fixture
def kernel(lab: Lab) -> Kernel:
    return Kernel(lab)


def names(answers: list[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


def clients(answers: list[str]) -> set[str]:
    return {answer.split()[-1] for answer in answers}


@pytest.mark.parametrize("client", ["node", "outside", "a"])
def test_a_cluster_ip_reaches_every_backend(kernel: Kernel, client: str) -> None:
    kernel.replace({WEB: Route((A, B))})
    assert names(kernel.lab.ask(client, "tcp", VIP, 80, count=40)) == {"a", "b"}


def test_a_pod_reaches_itself_and_sees_a_node_address(kernel: Kernel) -> None:
    kernel.replace({WEB: Route((A,))})
    assert kernel.lab.ask("a", "tcp", VIP, 80) == ["a 10.244.0.1"]


def test_pods_see_each_others_addresses(kernel: Kernel) -> None:
    kernel.replace({WEB: Route((B,))})
    assert kernel.lab.ask("a", "tcp", VIP, 80) == ["b 10.244.0.2"]


def test_without_backends_connections_are_refused_at_once(kernel: Kernel) -> None:
    kernel.replace({WEB: Route(), NODE_PORT: Route()})
    assert kernel.lab.ask("a", "tcp", VIP, 80) == ["ConnectionRefusedError"]
    assert kernel.lab.ask("node", "tcp", VIP, 80) == ["ConnectionRefusedError"]
    assert kernel.lab.ask("outside", "tcp", NODE_ADDRESS, 30080) == ["ConnectionRefusedError"]


def test_a_node_port_answers_on_every_address_of_the_node(kernel: Kernel) -> None:
    kernel.replace({NODE_PORT: Route((A, B), masquerade=True)})
    assert names(kernel.lab.ask("outside", "tcp", NODE_ADDRESS, 30080, count=40)) == {"a", "b"}
    assert names(kernel.lab.ask("a", "tcp", "10.244.0.1", 30080, count=40)) == {"a", "b"}
    assert names(kernel.lab.ask("node", "tcp", "127.0.0.1", 30080, count=40)) == {"a", "b"}


def test_external_policy_local_keeps_the_clients_address(kernel: Kernel) -> None:
    kernel.replace({NODE_PORT: Route((A,))})
    assert kernel.lab.ask("outside", "tcp", NODE_ADDRESS, 30080) == [f"a {OUTSIDE_ADDRESS}"]


def test_affinity_keeps_a_client_at_its_backend(kernel: Kernel) -> None:
    kernel.replace({WEB: Route((A, B), sticky=True)})
    for client in ("node", "outside", "a", "b"):
        assert len(names(kernel.lab.ask(client, "tcp", VIP, 80, count=10))) == 1


def test_changes_go_element_by_element(kernel: Kernel) -> None:
    kernel.replace({WEB: Route((A, B))})
    kernel.change({WEB: Route((B,))})
    assert names(kernel.lab.ask("node", "tcp", VIP, 80, count=10)) == {"b"}
    kernel.change({WEB: Route((A, B)), NODE_PORT: Route((A,), masquerade=True)})
    assert names(kernel.lab.ask("node", "tcp", VIP, 80, count=40)) == {"a", "b"}
    kernel.change({})
    assert kernel.lab.ask("node", "tcp", VIP, 80) == ["ConnectionRefusedError"]


def test_udp_flows_leave_a_backend_that_is_gone(kernel: Kernel) -> None:
    dns = Frontend(VIP, "udp", 53)
    before, after = {dns: Route((A,))}, {dns: Route((B,))}
    kernel.replace(before)
    assert kernel.lab.ask("outside", "udp", VIP, 53, source_port=5000) == [f"a {OUTSIDE_ADDRESS}"]
    kernel.change(after)
    assert names(kernel.lab.ask("outside", "udp", VIP, 53, source_port=5000)) == {"a"}, "the kernel remembers the flow"
    for flow in stale_flows(before, after):
        kernel.lab.run("node", *flow.arguments())
    assert names(kernel.lab.ask("outside", "udp", VIP, 53, source_port=5000)) == {"b"}


def test_connections_live_through_a_replacement_of_the_table(kernel: Kernel) -> None:
    kernel.replace({Frontend(VIP, "udp", 53): Route((A,))})
    assert names(kernel.lab.ask("outside", "udp", VIP, 53, source_port=5001)) == {"a"}
    kernel.replace({Frontend(VIP, "udp", 53): Route((B,))})
    assert names(kernel.lab.ask("outside", "udp", VIP, 53, source_port=5001)) == {"a"}


def test_pods_leave_the_cluster_with_the_nodes_address(kernel: Kernel) -> None:
    kernel.replace({})
    kernel.lab.run("node", "nft", "-f", "-", text=masquerade_table("10.244.0.0/24"))
    assert kernel.lab.ask("a", "tcp", OUTSIDE_ADDRESS, 7000) == [f"outside {NODE_ADDRESS}"]


def test_ten_thousand_services_are_data_not_rules(kernel: Kernel) -> None:
    routes = {Frontend(f"10.96.{n // 250}.{n % 250 + 1}", "tcp", 80): Route((A, B)) for n in range(10_000)}
    kernel.replace(routes)
    listing = subprocess.run(
        kernel.lab.command("node", "nft", "-s", "-t", "list", "table", "ip", "navarch"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert len(listing.splitlines()) < 100
    kernel.replace({})
