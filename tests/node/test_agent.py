"""The node agent as a whole: a real API server, a real containerd, real containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.cri.client import CriClient
from agents.cri.v1 import runtime_pb2 as cri_v1
from orchestrator.api.v1 import ConfigMap, Event, Node, Pod
from tests.node.cluster import NODE, PATIENCE, Cluster, is_ready, is_running, main, make_pod, running_cluster
from tests.node.conftest import BUSYBOX_IMAGE, RuntimeLab


@pytest.fixture
async def cluster(runtime_lab: RuntimeLab, cri: CriClient, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(runtime_lab, tmp_path) as running:
        yield running


async def test_a_pod_runs_and_goes(cluster: Cluster, cri: CriClient) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    pod = await cluster.until("web", is_running)
    assert pod.status.pod_ip.startswith("10.244.7.")
    assert pod.status.host_ip == "192.0.2.10"
    status = pod.status.container_statuses[0]
    assert status.state.HasField("running")
    assert status.ready
    assert status.container_id.startswith("containerd://")
    assert is_ready(pod)
    await cluster.remove("web")
    assert not await cri.list_pod_sandboxes()
    assert not await cri.list_containers()
    assert not list((cluster.lab.paths.node / "pods").glob("*"))
    node = await cluster.client.get(Node, NODE)
    assert node.status.node_info.container_runtime_version.startswith("containerd://")


async def test_a_pod_that_ends_has_succeeded_or_failed(cluster: Cluster) -> None:
    await cluster.run(make_pod("good", ["true"], restart_policy="Never"))
    await cluster.run(make_pod("bad", ["sh", "-c", "echo over > /dev/termination-log; exit 3"], restart_policy="Never"))
    good = await cluster.until("good", lambda pod: pod.status.phase == "Succeeded")
    assert good.status.container_statuses[0].state.terminated.reason == "Completed"
    bad = await cluster.until("bad", lambda pod: pod.status.phase == "Failed")
    ended = bad.status.container_statuses[0].state.terminated
    assert (ended.exit_code, ended.reason, ended.message) == (3, "Error", "over\n")


async def test_a_container_that_ends_is_started_again_with_growing_delays(cluster: Cluster) -> None:
    await cluster.run(make_pod("crash", ["sh", "-c", "exit 1"]))
    pod = await cluster.until("crash", lambda pod: main(pod).state.waiting.reason == "CrashLoopBackOff")
    status = pod.status.container_statuses[0]
    assert status.restart_count == 1
    assert status.state.waiting.message == (
        f"back-off 10s restarting failed container=main pod=crash_default({pod.metadata.uid})"
    )
    assert status.last_state.terminated.exit_code == 1


async def test_a_container_killed_from_outside_comes_back(cluster: Cluster, cri: CriClient) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    before = (await cluster.until("web", is_ready)).status.container_statuses[0].container_id
    await cri.stop_container(before.removeprefix("containerd://"), 0)
    pod = await cluster.until("web", lambda pod: main(pod).restart_count == 1 and is_ready(pod))
    status = pod.status.container_statuses[0]
    assert status.container_id != before
    assert status.last_state.terminated.container_id == before


async def test_a_new_sandbox_when_the_old_one_dies(cluster: Cluster, cri: CriClient) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    before = await cluster.until("web", is_ready)
    sandbox = (await cri.list_pod_sandboxes())[0].id
    # Only the process that holds the sandbox: the container goes on, in a network that nobody keeps.
    ctr = ["ctr", "--address", str(cluster.lab.socket), "--namespace", "k8s.io"]
    kill = await asyncio.create_subprocess_exec(*ctr, "tasks", "kill", "--signal", "SIGKILL", sandbox)
    assert await kill.wait() == 0
    pod = await cluster.until("web", lambda pod: main(pod).restart_count > 0 and is_ready(pod))
    assert pod.status.pod_ip != before.status.pod_ip
    assert main(pod).restart_count == 1
    assert main(pod).last_state.terminated.container_id == main(before).container_id


async def test_init_containers_and_sidecars(cluster: Cluster) -> None:
    pod = make_pod("web", ["sh", "-c", "cat /shared/a /shared/b"], restart_policy="Never")
    pod.spec.volumes.add(name="shared").empty_dir.SetInParent()
    for name, command in (("first", "echo 1 > /shared/a"), ("second", "cat /shared/a > /shared/b")):
        init = pod.spec.init_containers.add(name=name, image=BUSYBOX_IMAGE, command=["sh", "-c", command])
        init.volume_mounts.add(name="shared", mount_path="/shared")
    sidecar = pod.spec.init_containers.add(name="side", image=BUSYBOX_IMAGE, command=["sleep", "600"])
    sidecar.restart_policy = "Always"
    pod.spec.containers[0].volume_mounts.add(name="shared", mount_path="/shared")
    await cluster.run(pod)
    ended = await cluster.until("web", lambda pod: pod.status.phase == "Succeeded")
    assert [each.state.terminated.reason for each in ended.status.init_container_statuses] == [
        "Completed",
        "Completed",
        "Error",
    ]


async def test_what_a_container_lacks_is_told_and_made_good(cluster: Cluster) -> None:
    pod = make_pod("web", ["sleep", "600"])
    reference = pod.spec.containers[0].env.add(name="COLOR").value_from.config_map_key_ref
    reference.name, reference.key = "settings", "color"
    await cluster.run(pod)
    waiting = await cluster.until(
        "web",
        lambda pod: main(pod).state.waiting.reason == "CreateContainerConfigError",
    )
    assert waiting.status.container_statuses[0].state.waiting.message == 'configmap "settings" not found'
    settings = ConfigMap(data={"color": "blue"})
    settings.metadata.name, settings.metadata.namespace = "settings", "default"
    await cluster.client.create(settings)
    await cluster.until("web", is_ready)


async def test_an_image_that_cannot_be_had(cluster: Cluster) -> None:
    pod = make_pod("web", ["sleep", "600"])
    pod.spec.containers[0].image = "registry.invalid/none:1"
    pod.spec.containers[0].image_pull_policy = "Never"
    await cluster.run(pod)
    await cluster.until("web", lambda pod: main(pod).state.waiting.reason == "ErrImageNeverPull")
    await cluster.remove("web")


async def test_a_command_that_does_not_exist(cluster: Cluster) -> None:
    await cluster.run(make_pod("web", ["/no/such/program"], restart_policy="Never"))
    pod = await cluster.until("web", lambda pod: pod.status.phase == "Failed")
    ended = pod.status.container_statuses[0].state.terminated
    assert (ended.reason, ended.exit_code) == ("StartError", 128)
    assert "/no/such/program" in ended.message


async def test_probes_make_ready_and_restart(cluster: Cluster) -> None:
    script = "touch /alive; sleep 600"
    pod = make_pod("web", ["sh", "-c", script])
    container = pod.spec.containers[0]
    container.readiness_probe.exec.command.extend(["test", "-e", "/ready"])
    container.readiness_probe.period_seconds = 1
    container.liveness_probe.exec.command.extend(["test", "-e", "/alive"])
    container.liveness_probe.period_seconds = 1
    container.liveness_probe.failure_threshold = 1
    await cluster.run(pod)
    started = await cluster.until("web", is_running)
    assert not is_ready(started)
    async with CriClient(cluster.lab.socket) as cri:
        container_id = started.status.container_statuses[0].container_id.removeprefix("containerd://")
        await cri.exec_sync(container_id, ["touch", "/ready"], 5)
        await cluster.until("web", is_ready)
        await cri.exec_sync(container_id, ["rm", "/alive"], 5)
    again = await cluster.until("web", lambda pod: main(pod).restart_count == 1 and is_running(pod))
    assert not is_ready(again)


async def test_hooks_run_and_the_grace_period_holds(cluster: Cluster) -> None:
    pod = make_pod("web", ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"])
    pod.spec.volumes.add(name="shared").host_path.path = str(cluster.lab.paths.root / "shared")
    pod.spec.volumes[0].host_path.type = "DirectoryOrCreate"
    container = pod.spec.containers[0]
    container.volume_mounts.add(name="shared", mount_path="/shared")
    container.lifecycle.post_start.exec.command.extend(["touch", "/shared/began"])
    container.lifecycle.pre_stop.exec.command.extend(["touch", "/shared/ending"])
    pod.spec.termination_grace_period_seconds = 10
    await cluster.run(pod)
    await cluster.until("web", is_ready)
    shared = cluster.lab.paths.root / "shared"
    assert (shared / "began").exists()
    assert not (shared / "ending").exists()
    await cluster.remove("web")
    assert (shared / "ending").exists()


async def test_a_pod_too_big_is_refused(cluster: Cluster) -> None:
    pod = make_pod("big", ["sleep", "600"])
    pod.spec.containers[0].resources.requests["cpu"] = "1000"
    await cluster.run(pod)
    failed = await cluster.until("big", lambda pod: pod.status.phase == "Failed")
    assert failed.status.reason == "OutOfcpu"


async def test_what_happens_is_told_in_events(cluster: Cluster) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    await cluster.until("web", is_ready)
    async with asyncio.timeout(PATIENCE):
        while True:
            told = {event.reason for event in (await cluster.client.list(Event, namespace="default")).items}
            if told >= {"Pulled", "Created", "Started"}:
                return
            await asyncio.sleep(0.05)


async def test_a_deletion_may_become_more_urgent(cluster: Cluster) -> None:
    # A shell as process 1 takes no notice of SIGTERM, and the hook takes longer than anyone would wait.
    pod = make_pod("web", ["sleep", "600"])
    pod.spec.termination_grace_period_seconds = 600
    pod.spec.containers[0].lifecycle.pre_stop.sleep.seconds = 500
    await cluster.run(pod)
    await cluster.until("web", is_ready)
    await cluster.client.delete(Pod, "web", namespace="default")
    told = await cluster.until("web", lambda pod: pod.metadata.HasField("deletion_timestamp"))
    assert main(told).state.HasField("running")
    await cluster.remove("web", grace=1)


async def test_a_pod_whose_time_is_up_fails(cluster: Cluster, cri: CriClient) -> None:
    await cluster.run(make_pod("web", ["sleep", "600"]))
    await cluster.until("web", is_ready)
    # Counted from the pod's start, which a busy machine may take seconds over: given only now, it passes at any speed.
    await cluster.client.patch(Pod, "web", {"spec": {"activeDeadlineSeconds": 1}}, namespace="default")
    failed = await cluster.until("web", lambda pod: pod.status.phase == "Failed")
    assert failed.status.reason == "DeadlineExceeded"
    assert main(failed).state.HasField("terminated")
    assert not await cri.list_containers(state=cri_v1.CONTAINER_RUNNING)


async def test_files_from_the_api_reach_the_container(cluster: Cluster, cri: CriClient) -> None:
    settings = ConfigMap(data={"color": "blue"})
    settings.metadata.name, settings.metadata.namespace = "settings", "default"
    await cluster.client.create(settings)
    pod = make_pod("web", ["sleep", "600"])
    pod.spec.volumes.add(name="settings").config_map.name = "settings"
    pod.spec.containers[0].volume_mounts.add(name="settings", mount_path="/settings")
    pod.spec.containers[0].env.add(name="IP").value_from.field_ref.field_path = "status.podIP"
    await cluster.run(pod)
    ready = await cluster.until("web", is_ready)
    container_id = main(ready).container_id.removeprefix("containerd://")
    answer = await cri.exec_sync(container_id, ["sh", "-c", "cat /settings/color; echo; echo $IP"], 5)
    assert answer.stdout.decode() == f"blue\n{ready.status.pod_ip}\n"
