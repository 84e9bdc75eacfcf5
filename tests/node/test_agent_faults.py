"""What the node agent makes of faults: its own end, the server's, the runtime's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.cri.client import CriClient
from agents.cri.v1 import runtime_pb2 as cri_v1
from orchestrator.api.v1 import Pod
from tests.node.cluster import Cluster, is_ready, main, make_pod, running_cluster
from tests.node.conftest import RuntimeLab, laboratory, running_containerd


@pytest.fixture
async def cluster(runtime_lab: RuntimeLab, cri: CriClient, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(runtime_lab, tmp_path) as running:
        yield running


async def test_a_restarted_agent_touches_nothing(cluster: Cluster, cri: CriClient) -> None:
    for name in ("one", "two"):
        await cluster.run(make_pod(name, ["sleep", "600"]))
    before = {name: await cluster.until(name, is_ready) for name in ("one", "two")}
    containers = {each.id: each.state for each in await cri.list_containers()}
    await cluster.kill_agent()
    # What happens meanwhile: a pod more, one to be deleted.
    await cluster.run(make_pod("three", ["sleep", "600"]))
    await cluster.client.delete(Pod, "two", namespace="default")
    await cluster.start_agent()
    await cluster.until("three", is_ready)
    after = await cluster.until("one", is_ready)
    assert after.status == before["one"].status
    assert (
        containers.items()
        >= {each.id: each.state for each in await cri.list_containers() if each.id in containers}.items()
    )
    await cluster.until_only("one", "three")


async def test_an_agent_killed_again_and_again_still_brings_every_pod_up(cluster: Cluster, cri: CriClient) -> None:
    rng = random.Random(7)
    names = [f"web-{number}" for number in range(4)]
    for name in names:
        await cluster.run(make_pod(name, ["sleep", "600"]))
    for _ in range(8):
        await asyncio.sleep(rng.uniform(0.0, 0.25))
        await cluster.kill_agent()
        await cluster.start_agent()
    for name in names:
        await cluster.until(name, is_ready)
    running = [each for each in await cri.list_containers() if each.state == cri_v1.CONTAINER_RUNNING]
    assert sorted(each.labels["io.kubernetes.pod.name"] for each in running) == names
    for name in names:
        await cluster.client.delete(Pod, name, namespace="default")
    await cluster.kill_agent()
    await cluster.start_agent()
    await cluster.until_only()
    assert not await cri.list_pod_sandboxes()
    assert not list((cluster.lab.paths.node / "pods").glob("*"))


async def test_containers_are_kept_running_while_the_server_is_away(cluster: Cluster, cri: CriClient) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    before = main(await cluster.until("web", is_ready)).container_id.removeprefix("containerd://")
    await cluster.server.stop()
    await cri.stop_container(before, 0)

    async def runs_again() -> bool:
        return len(await cri.list_containers(state=cri_v1.CONTAINER_RUNNING)) == 1

    await cluster.eventually(runs_again)
    found = await cri.list_containers(state=cri_v1.CONTAINER_RUNNING)
    await cluster.server.start()
    pod = await cluster.until("web", lambda pod: main(pod).restart_count == 1 and is_ready(pod))
    assert main(pod).container_id == f"containerd://{found[0].id}"


async def test_a_pod_removed_from_the_api_by_force_ends(cluster: Cluster, cri: CriClient) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    await cluster.until("web", is_ready)
    await cluster.kill_agent()
    await cluster.client.delete(Pod, "web", namespace="default", grace_period_seconds=0)
    # A pod of the same name is another pod.
    await cluster.run(make_pod("web", ["sleep", "600"]))
    await cluster.start_agent()
    pod = await cluster.until("web", is_ready)

    async def only_the_new_one_is_left() -> bool:
        return [each.metadata.uid for each in await cri.list_pod_sandboxes()] == [pod.metadata.uid]

    await cluster.eventually(only_the_new_one_is_left)


def test_the_runtime_may_be_restarted(tmp_path: Path) -> None:
    with laboratory() as (lab, containerd):
        asyncio.run(_restart_the_runtime(lab, containerd, tmp_path))


async def _restart_the_runtime(lab: RuntimeLab, containerd: running_containerd, directory: Path) -> None:
    async with running_cluster(lab, directory) as cluster:
        await cluster.run(make_pod("web", ["sleep", "600"]))
        before = await cluster.until("web", is_ready)
        await asyncio.to_thread(containerd.kill)
        await cluster.run(make_pod("other", ["sleep", "600"]))
        await asyncio.to_thread(containerd.__enter__)
        await cluster.until("other", is_ready)
        after = await cluster.client.get(Pod, "web", "default")
        assert after.status == before.status
        for name in ("web", "other"):
            await cluster.remove(name)
