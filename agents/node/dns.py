"""Name resolution in a pod: which servers, search domains and options its resolv.conf gets. Pure but for `Dns.of_node`.

`ClusterFirst` asks the cluster's name server where there is one; without one, pods resolve as their node does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.cri.v1 import runtime_pb2 as cri
from orchestrator.api.v1 import Pod

# Where systemd-resolved writes its upstream servers: its own listener on 127.0.0.53 can't be reached from a pod.
_RESOLV_CONFS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
# What the C library reads at most.
_SERVERS = 3
_SEARCHES = 32
_CLUSTER_OPTIONS = ("ndots:5",)


@dataclass(frozen=True, slots=True)
class Resolver:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dns:
    """How this node resolves, and the cluster's own name servers if there are any."""

    node: Resolver
    cluster_servers: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"

    @classmethod
    def of_node(cls, *, cluster_servers: Sequence[str] = (), cluster_domain: str = "cluster.local") -> Dns:
        """Reads the node's own resolv.conf."""
        for file in _RESOLV_CONFS:
            if file.is_file():
                return cls(parse_resolv_conf(file.read_text()), tuple(cluster_servers), cluster_domain)
        return cls(Resolver(), tuple(cluster_servers), cluster_domain)


def parse_resolv_conf(text: str) -> Resolver:
    """resolv.conf(5): the last search line counts, all options do."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        match line.split("#")[0].split(";")[0].split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *domains]:
                searches = tuple(domains)
            case ["options", *given]:
                options += given
    return Resolver(tuple(servers), searches, tuple(options))


def dns_config(pod: Pod, dns: Dns) -> cri.DNSConfig:
    """By the pod's dnsPolicy, with its dnsConfig added."""
    chosen = _by_policy(pod, dns)
    wanted = pod.spec.dns_config
    options = {option.partition(":")[0]: option for option in chosen.options}
    for option in wanted.options:
        value = option.value if option.HasField("value") else ""
        options[option.name] = f"{option.name}:{value}" if value else option.name
    return cri.DNSConfig(
        servers=_distinct([*chosen.servers, *wanted.nameservers])[:_SERVERS],
        searches=_distinct([*chosen.searches, *wanted.searches])[:_SEARCHES],
        options=list(options.values()),
    )


def _by_policy(pod: Pod, dns: Dns) -> Resolver:
    policy = pod.spec.dns_policy or "ClusterFirst"
    if policy == "None":
        return Resolver()
    asks_cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.host_network)
    if not asks_cluster or not dns.cluster_servers:
        return dns.node
    domain = dns.cluster_domain
    searches = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain, *dns.node.searches)
    return Resolver(dns.cluster_servers, searches, _CLUSTER_OPTIONS)


def _distinct(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))
