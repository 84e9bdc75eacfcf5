"""Which resolv.conf a pod gets, by policy."""

from __future__ import annotations

import pytest

from agents.node.dns import Dns, Resolver, dns_config, parse_resolv_conf
from orchestrator.api.v1 import Pod

NODE = Resolver(("192.0.2.53", "192.0.2.54"), ("example.org",), ("timeout:1",))
WITH_CLUSTER = Dns(NODE, ("10.96.0.10",), "cluster.local")
WITHOUT_CLUSTER = Dns(NODE)
CLUSTER_ANSWER = (
    ["10.96.0.10"],
    ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"],
    ["ndots:5"],
)
NODE_ANSWER = (["192.0.2.53", "192.0.2.54"], ["example.org"], ["timeout:1"])


def pod(policy: str, *, host_network: bool = False) -> Pod:
    made = Pod()
    made.metadata.namespace = "shop"
    made.spec.dns_policy, made.spec.host_network = policy, host_network
    return made


@pytest.mark.parametrize(
    ("asking", "dns", "answer"),
    [
        (pod("ClusterFirst"), WITH_CLUSTER, CLUSTER_ANSWER),
        (pod(""), WITH_CLUSTER, CLUSTER_ANSWER),
        (pod("ClusterFirst", host_network=True), WITH_CLUSTER, NODE_ANSWER),
        (pod("ClusterFirstWithHostNet", host_network=True), WITH_CLUSTER, CLUSTER_ANSWER),
        (pod("Default"), WITH_CLUSTER, NODE_ANSWER),
        (pod("ClusterFirst"), WITHOUT_CLUSTER, NODE_ANSWER),
        (pod("None"), WITH_CLUSTER, ([], [], [])),
    ],
)
def test_policies(asking: Pod, dns: Dns, answer: tuple[list[str], list[str], list[str]]) -> None:
    found = dns_config(asking, dns)
    assert (list(found.servers), list(found.searches), list(found.options)) == answer


def test_the_pods_own_settings_are_added() -> None:
    asking = pod("ClusterFirst")
    asking.spec.dns_config.nameservers.extend(["10.96.0.10", "1.1.1.1", "2.2.2.2", "3.3.3.3"])
    asking.spec.dns_config.searches.append("more.example.org")
    asking.spec.dns_config.options.add(name="ndots", value="2")
    asking.spec.dns_config.options.add(name="edns0")
    found = dns_config(asking, WITH_CLUSTER)
    # The C library reads three.
    assert list(found.servers) == ["10.96.0.10", "1.1.1.1", "2.2.2.2"]
    assert found.searches[-1] == "more.example.org"
    assert list(found.options) == ["ndots:2", "edns0"]


def test_resolv_conf_is_read_as_the_c_library_does() -> None:
    text = "# a comment\nsearch old\nnameserver 192.0.2.1 ; first\nnameserver\nsearch a b\noptions x y:2\noptions z\n"
    assert parse_resolv_conf(text) == Resolver(("192.0.2.1",), ("a", "b"), ("x", "y:2", "z"))
