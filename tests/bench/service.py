"""`bench service`: from an endpoint's change, written to the API, to its rule in the kernel.

The kernel itself says when: `nft monitor` prints every element as it is committed. The peer is the `nft` program making
one such change, which is what a proxy that runs it would pay at least.
"""

from __future__ import annotations

import asyncio
import subprocess
import time

from agents.proxy.ruleset import TABLE
from cli.target import Target
from orchestrator.api.v1 import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
)
from orchestrator.client import Client
from tests.bench.figures import tell_times

CHANGES = 50
NAMESPACE = "default"


async def _measure(client: Client, _: str) -> tuple[list[float], list[float]]:
    service = Service(
        metadata=ObjectMeta(name="bench", namespace=NAMESPACE),
        spec=ServiceSpec(ports=[ServicePort(name="web", port=80)]),
    )
    await client.create(service)
    piece = EndpointSlice(
        metadata=ObjectMeta(name="bench", namespace=NAMESPACE, labels={"kubernetes.io/service-name": "bench"}),
        address_type="IPv4",
        ports=[EndpointPort(name="web", protocol="TCP", port=8080)],
        endpoints=[Endpoint(addresses=["10.244.9.1"], conditions=EndpointConditions(ready=True))],
    )
    monitor = await asyncio.create_subprocess_exec("nft", "monitor", "new", "elements", stdout=asyncio.subprocess.PIPE)
    try:
        piece = await client.create(piece)
        await _seen(monitor, "10.244.9.1")
        times = []
        for number in range(2, CHANGES + 2):
            address = f"10.244.9.{number}"
            piece.endpoints[0].addresses[0] = address
            began = time.monotonic()
            piece = await client.update(piece)
            await _seen(monitor, address)
            times.append(time.monotonic() - began)
    finally:
        monitor.terminate()
        await monitor.wait()
    return times, [await asyncio.to_thread(_one_change, number) for number in range(CHANGES)]


async def _seen(monitor: asyncio.subprocess.Process, text: str) -> None:
    assert monitor.stdout is not None
    async with asyncio.timeout(10):
        while True:
            line = await monitor.stdout.readline()
            assert line, "nft monitor has ended"
            if text.encode() in line:
                return


def _one_change(number: int) -> float:
    """Seconds that an `nft` process takes for one element."""
    command = f"add element ip {TABLE} refused_addresses {{ 198.51.100.{number} . tcp . 80 }}"
    began = time.monotonic()
    subprocess.run(["nft", command], check=True)
    return time.monotonic() - began


def main() -> None:
    times, floor = Target(None, None, "").run(_measure)
    tell_times("service_endpoint_to_kernel", times, floor)


if __name__ == "__main__":
    main()
