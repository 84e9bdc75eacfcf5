"""Small changes without end, and a record of which of them were acknowledged.

Runs as a process in a cluster's network namespace: `python -m tests.node.churn KUBECONFIG SEED`. At SIGTERM it ends
what it is at, waits for an answer if need be, and prints as JSON what the cluster has to show for it.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from orchestrator import kubeconfig
from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, Container, Deployment, ObjectMeta, Pod, PodSpec
from orchestrator.client import Client

T = TypeVar("T")

NAMESPACE = "default"
MOST_PODS = 3
MOST_REPLICAS = 4
AGAIN_SECONDS = 0.05


class Churn:
    def __init__(self, client: Client, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self.stop = asyncio.Event()
        # The value each ConfigMap had in the last write that was answered, if no later one was left unanswered.
        self.values: dict[str, str] = {}
        self.pods: set[str] = set()
        self.replicas = 0
        self.acknowledged = 0

    async def config_maps(self) -> None:
        """Writes that are not repeated: whether those without an answer count is open, all others must."""
        number = 0
        while not self.stop.is_set():
            number += 1
            name = f"churn-{self._rng.randrange(30)}"
            known = self.values.pop(name, None)
            body = ConfigMap(metadata=ObjectMeta(name=name, namespace=NAMESPACE), data={"value": str(number)})
            try:
                if known is None:
                    await self._client.create(body)
                else:
                    await self._client.patch(ConfigMap, name, {"data": {"value": str(number)}}, namespace=NAMESPACE)
            except errors.AlreadyExists:
                await self._answered(partial(self._client.delete, ConfigMap, name, namespace=NAMESPACE))
            except errors.ApiError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.values[name] = str(number)
                self.acknowledged += 1
            await asyncio.sleep(0.01)

    async def bare_pods(self) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            pod = Pod(
                metadata=ObjectMeta(name=f"bare-{number}", namespace=NAMESPACE),
                spec=PodSpec(
                    containers=[Container(name="main", image="registry.test/web:v1")],
                    termination_grace_period_seconds=1,
                ),
            )
            await self._answered(partial(self._client.create, pod))
            self.pods.add(pod.metadata.name)
            if len(self.pods) > MOST_PODS:
                name = self._rng.choice(sorted(self.pods))
                self.pods.discard(name)
                grace = self._rng.choice((None, None, 0))
                await self._answered(
                    partial(self._client.delete, Pod, name, namespace=NAMESPACE, grace_period_seconds=grace)
                )
            await asyncio.sleep(self._rng.random())

    async def deployment(self) -> None:
        """Scales the Deployment "other", and rolls it every other time."""
        while not self.stop.is_set():
            replicas = self._rng.randint(0, MOST_REPLICAS)
            spec: dict[str, object] = {"replicas": replicas}
            if self._rng.random() < 0.5:
                spec["template"] = {"metadata": {"annotations": {"roll": str(self._rng.random())}}}
            await self._answered(partial(self._client.patch, Deployment, "other", {"spec": spec}, namespace=NAMESPACE))
            self.replicas = replicas
            await asyncio.sleep(3 * self._rng.random())

    async def _answered(self, call: Callable[[], Awaitable[T]]) -> None:
        """Repeats a call whose outcome is unknown until it is known. That it had happened already is fine."""
        while True:
            try:
                await call()
            except (errors.AlreadyExists, errors.NotFound):
                return
            except (errors.ServiceUnavailable, errors.Timeout, errors.ServerTimeout, errors.Conflict):
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


async def main(config: Path, seed: int) -> None:
    async with Client.connect(kubeconfig.load(config)) as client:
        churn = Churn(client, random.Random(seed))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, churn.stop.set)
        await asyncio.gather(churn.config_maps(), churn.bare_pods(), churn.deployment())
    record = {
        "values": churn.values,
        "pods": sorted(churn.pods),
        "replicas": churn.replicas,
        "acknowledged": churn.acknowledged,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
