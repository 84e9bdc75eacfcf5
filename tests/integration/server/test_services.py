"""ClusterIPs and node ports over real gRPC: unique, honoured when asked for, given back, healed."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from orchestrator.api import errors
from orchestrator.api.v1 import ObjectMeta, Service, ServicePort, ServiceSpec
from orchestrator.client import Client
from orchestrator.store import Delete, Put
from tests.integration.running import RunningServer
from tests.integration.server.objects import NAMESPACE, service

NETWORK = ipaddress.ip_network("10.96.0.0/16")


async def allocations(api: RunningServer) -> set[str]:
    found = await api.store.range("/allocations/")
    return {item.key.removeprefix("/allocations/") for item in found.items}


async def test_a_service_gets_an_address(api: RunningServer, client: Client) -> None:
    made = await client.create(service())
    address = ipaddress.ip_address(made.spec.cluster_ip)
    assert address in NETWORK
    assert int(address) - int(NETWORK.network_address) >= 16, "the first are for those who choose their own"
    assert list(made.spec.cluster_ips) == [made.spec.cluster_ip]
    assert list(made.spec.ip_families) == ["IPv4"]
    assert await allocations(api) == {f"clusterip/{made.spec.cluster_ip}"}
    assert await client.get(Service, "web", NAMESPACE) == made


async def test_fifty_at_once_get_fifty(api: RunningServer, client: Client) -> None:
    made = await asyncio.gather(*(client.create(service(f"s{i}", type="NodePort")) for i in range(50)))
    assert len({each.spec.cluster_ip for each in made}) == 50
    assert len({each.spec.ports[0].node_port for each in made}) == 50
    assert all(30000 <= each.spec.ports[0].node_port <= 32767 for each in made)
    assert len(await allocations(api)) == 100


async def test_of_many_who_want_one_address_one_gets_it(api: RunningServer, client: Client) -> None:
    wanted = (client.create(service(f"s{i}", cluster_ip="10.96.0.10")) for i in range(20))
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert sum(isinstance(each, Service) for each in results) == 1
    refused = [each for each in results if isinstance(each, errors.Invalid)]
    assert len(refused) == 19
    assert all("provided IP is already allocated" in each.message for each in refused)
    assert await allocations(api) == {"clusterip/10.96.0.10"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            service(cluster_ip="192.0.2.1"),
            "the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
        ),
        (
            service(type="NodePort", node_port=80),
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
            "The range of valid ports is 30000-32767",
        ),
        (
            service(type="NodePort", node_port=30080),
            "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
        ),
        (
            service(cluster_ip="10.96.0.9"),
            'spec.clusterIPs: Invalid value: ["10.96.0.9"]: failed to allocate IP 10.96.0.9: '
            "provided IP is already allocated",
        ),
    ],
)
async def test_what_cant_be_had(api: RunningServer, client: Client, wanted: Service, message: str) -> None:
    await client.create(service("first", type="NodePort", node_port=30080, cluster_ip="10.96.0.9"))
    before = await allocations(api)
    with pytest.raises(errors.Invalid) as caught:
        await client.create(wanted)
    assert message in caught.value.message
    assert await allocations(api) == before


async def test_kinds_of_services_without_an_address(api: RunningServer, client: Client) -> None:
    headless = await client.create(service("headless", cluster_ip="None"))
    assert (headless.spec.cluster_ip, list(headless.spec.cluster_ips)) == ("None", ["None"])
    external = await client.create(
        Service(
            metadata=ObjectMeta(name="external", namespace=NAMESPACE),
            spec=ServiceSpec(type="ExternalName", external_name="example.com"),
        )
    )
    assert not external.spec.cluster_ip
    assert await allocations(api) == set()


async def test_what_is_deleted_can_be_had_again(api: RunningServer, client: Client) -> None:
    await client.create(service(type="NodePort", node_port=30080, cluster_ip="10.96.0.9"))
    await client.delete(Service, "web", namespace=NAMESPACE)
    assert await allocations(api) == set()
    await client.create(service("other", type="NodePort", node_port=30080, cluster_ip="10.96.0.9"))


async def test_an_update_keeps_what_was_chosen(api: RunningServer, client: Client) -> None:
    made = await client.create(service(type="NodePort"))
    before = await allocations(api)
    applied = service(type="NodePort")
    applied.metadata.labels["a"] = "b"
    updated = await client.update(applied)
    assert updated.spec == made.spec
    assert await allocations(api) == before


async def test_changing_the_type_takes_and_gives_back_ports(api: RunningServer, client: Client) -> None:
    made = await client.create(service())
    address = f"clusterip/{made.spec.cluster_ip}"
    exposed = await client.update(service(type="NodePort"))
    assert exposed.spec.cluster_ip == made.spec.cluster_ip
    assert await allocations(api) == {address, f"nodeport/{exposed.spec.ports[0].node_port}"}
    hidden = await client.update(service())
    assert hidden.spec.ports[0].node_port == 0
    assert await allocations(api) == {address}
    external = service(type="ExternalName")
    external.spec.external_name = "example.com"
    assert not (await client.update(external)).spec.cluster_ip
    assert await allocations(api) == set()


async def test_one_port_over_two_protocols(api: RunningServer, client: Client) -> None:
    dns = service(type="NodePort")
    del dns.spec.ports[:]
    dns.spec.ports.extend([ServicePort(name=each, protocol=each.upper(), port=53) for each in ("udp", "tcp")])
    made = await client.create(dns)
    udp, tcp = made.spec.ports
    assert udp.node_port == tcp.node_port != 0
    assert len(await allocations(api)) == 2


async def test_a_dry_run_takes_nothing(api: RunningServer, client: Client) -> None:
    shown = await client.create(service(cluster_ip="10.96.0.9"), dry_run=True)
    assert shown.spec.cluster_ip == "10.96.0.9"
    assert await allocations(api) == set()
    await client.create(service(cluster_ip="10.96.0.9"))


async def test_a_start_heals_the_allocations(api: RunningServer) -> None:
    async with api.connect() as client:
        made = await client.create(service(type="NodePort"))
    right = await allocations(api)
    lost = f"/allocations/clusterip/{made.spec.cluster_ip}"
    await api.store.txn([], [Delete(lost), Put("/allocations/clusterip/10.96.9.9", b"default/nobody")])
    await api.restart()
    assert await allocations(api) == right
    async with api.connect() as client:
        with pytest.raises(errors.Invalid, match="already allocated"):
            await client.create(service("other", cluster_ip=made.spec.cluster_ip))
        await client.create(service("other", cluster_ip="10.96.9.9"))


async def test_an_address_held_by_another_server_is_passed_over(api: RunningServer, client: Client) -> None:
    """What another server took since this one started is only in the store: the transaction finds out."""
    await api.store.txn([], [Put("/allocations/clusterip/10.96.0.9", b"default/elsewhere")])
    with pytest.raises(errors.Invalid, match="already allocated"):
        await client.create(service(cluster_ip="10.96.0.9"))
    await client.create(service())
