"""What the pure functions say of a pod, and what a real runtime makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from agents.cri.client import CriClient
from agents.cri.errors import CriNotFoundError
from agents.cri.images import PAUSE_IMAGE
from agents.cri.v1 import runtime_pb2 as cri_v1
from agents.mounting import mounts_below
from agents.node.mounts import termination_message_file
from orchestrator.api.v1 import ConfigMap, Secret
from tests.node.conftest import BUSYBOX_IMAGE, RuntimeLab
from tests.node.pods import Objects, PodRunner, make_pod


@pytest.fixture
async def objects() -> Objects:
    return Objects(
        config_maps={"settings": ConfigMap(data={"color": "blue", "file.conf": "x=1\n"})},
        secrets={"keys": Secret(data={"token": b"s3cret"})},
    )


@pytest.fixture
async def pods(runtime_lab: RuntimeLab, cri: CriClient, objects: Objects) -> AsyncIterator[PodRunner]:
    runner = PodRunner(runtime_lab.paths, cri, objects)
    yield runner
    for uid in list(runner.sandboxes):
        sandbox, _ = runner.sandboxes[uid]
        await cri.stop_pod_sandbox(sandbox)
        await cri.remove_pod_sandbox(sandbox)
        await runner.volumes.remove(uid)


async def test_images_made_here_are_known_to_the_runtime(cri: CriClient) -> None:
    tags = {tag for image in await cri.list_images() for tag in image.repo_tags}
    assert {PAUSE_IMAGE, BUSYBOX_IMAGE} <= tags
    assert await cri.image_status("registry.test/absent:1") is None


async def test_what_is_gone_is_told_from_what_fails(cri: CriClient) -> None:
    with pytest.raises(CriNotFoundError):
        await cri.container_status("absent")
    # Removing is done when there is nothing to remove.
    await cri.remove_container("absent")


async def test_a_container_sees_its_environment_name_and_addresses(pods: PodRunner) -> None:
    pod = make_pod(main=["sleep", "60"])
    container = pod.spec.containers[0]
    container.env.add(name="GREETING", value="hello $(NAME)")
    container.env.add(name="NAME").value_from.field_ref.field_path = "metadata.name"
    container.env.add(name="AGAIN", value="hello $(NAME)")
    container.env.add(name="IP").value_from.field_ref.field_path = "status.podIP"
    color = container.env.add(name="COLOR").value_from.config_map_key_ref
    color.name, color.key = "settings", "color"
    container.env_from.add().secret_ref.name = "keys"
    pod.spec.host_aliases.add(ip="192.0.2.9", hostnames=["db.example.org"])
    ids = await pods.start(pod)
    seen = dict(line.split("=", 1) for line in (await pods.run(ids["main"], "env")).splitlines())
    assert (seen["GREETING"], seen["AGAIN"]) == ("hello $(NAME)", "hello web")
    assert (seen["COLOR"], seen["token"]) == ("blue", "s3cret")
    assert seen["IP"] == pods.ips[pod.metadata.uid][0]
    assert seen["IP"].startswith("10.244.7.")
    assert (await pods.run(ids["main"], "hostname")).strip() == "web"
    hosts = await pods.run(ids["main"], "cat /etc/hosts")
    assert f"{seen['IP']}\tweb\n" in hosts
    assert "192.0.2.9\tdb.example.org\n" in hosts
    assert await pods.run(ids["main"], "cat /etc/resolv.conf") == "search example.org\nnameserver 192.0.2.53\n"


async def test_limits_are_the_kernels(pods: PodRunner) -> None:
    pod = make_pod(main=["sleep", "60"])
    container = pod.spec.containers[0]
    container.resources.limits.update({"cpu": "500m", "memory": "64Mi"})
    container.resources.requests.update({"cpu": "250m", "memory": "32Mi"})
    ids = await pods.start(pod)
    found = {
        "memory": _cgroup_file(ids["main"], "memory", "memory.limit_in_bytes", "memory.max"),
        "quota": _cgroup_file(ids["main"], "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0],
    }
    assert found == {"memory": str(64 << 20), "quota": "50000"}
    assert (await pods.run(ids["main"], "cat /proc/1/oom_score_adj")).strip() == str(1000 - 1000 * 32 // 4096)


async def test_memory_over_the_limit_is_an_oom_kill(pods: PodRunner) -> None:
    pod = make_pod(main=["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"])
    pod.spec.containers[0].resources.limits["memory"] = "16Mi"
    ids = await pods.start(pod)
    status = await pods.exited(ids["main"])
    assert status.reason == "OOMKilled" or status.exit_code == 137


async def test_security_settings_hold(pods: PodRunner) -> None:
    pod = make_pod(main=["sleep", "60"])
    pod.spec.security_context.fs_group = 2000
    pod.spec.security_context.supplemental_groups.append(3000)
    context = pod.spec.containers[0].security_context
    context.run_as_user, context.run_as_group = 1000, 1001
    context.read_only_root_filesystem = True
    context.allow_privilege_escalation = False
    context.capabilities.drop.append("ALL")
    ids = await pods.start(pod)
    assert (await pods.run(ids["main"], "id -u; id -g")).split() == ["1000", "1001"]
    assert {"2000", "3000"} <= set((await pods.run(ids["main"], "id -G")).split())
    status = await pods.run(ids["main"], "cat /proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    refused = await pods.runtime.exec_sync(ids["main"], ["sh", "-c", "touch /here"], 5)
    assert refused.exit_code != 0
    assert b"Read-only" in refused.stderr
    # Masked as Kubernetes masks it.
    assert await pods.run(ids["main"], "cat /proc/kcore | wc -c") == "0\n"


async def test_volumes_hold_what_the_api_has_and_follow_it(pods: PodRunner, objects: Objects) -> None:
    pod = make_pod(main=["sleep", "60"])
    pod.spec.security_context.fs_group = 2000
    pod.spec.volumes.add(name="settings").config_map.name = "settings"
    pod.spec.volumes.add(name="keys").secret.secret_name = "keys"
    pod.spec.volumes.add(name="scratch").empty_dir.SetInParent()
    memory = pod.spec.volumes.add(name="memory").empty_dir
    memory.medium, memory.size_limit = "Memory", "1Mi"
    labels = pod.spec.volumes.add(name="about").downward_api.items.add(path="name")
    labels.field_ref.field_path = "metadata.name"
    mounts = pod.spec.containers[0].volume_mounts
    for name in ("settings", "keys", "scratch", "memory", "about"):
        mounts.add(name=name, mount_path=f"/{name}")
    mounts.add(name="settings", mount_path="/etc/app.conf", sub_path="file.conf")
    mounts.add(name="scratch", mount_path="/part", sub_path="a/b")
    ids = await pods.start(pod)
    run = partial(pods.run, ids["main"])
    assert await run("cat /settings/color /keys/token /about/name") == "blues3cretweb"
    assert await run("cat /etc/app.conf") == "x=1\n"
    assert await run("touch /part/file; find /scratch -type f") == "/scratch/a/b/file\n"
    assert await run("stat -c %g /scratch; stat -L -c %a:%g /keys/token") == "2000\n644:2000\n"
    assert "1.0M" in await run("df -h /memory")
    refused = await pods.runtime.exec_sync(ids["main"], ["sh", "-c", "echo x > /settings/color"], 5)
    assert b"Read-only" in refused.stderr

    objects.config_maps["settings"] = ConfigMap(data={"color": "green", "shape": "round"})
    facts: dict[str, str] = {}
    assert await pods.volumes.refresh(pod, pod_ips=[], host_ips=[], allocatable=facts)
    assert await run("cat /settings/color /settings/shape; ls /settings") == "greenroundcolor\nshape\n"

    directory = pods.volumes.directory(pod.metadata.uid)
    assert mounts_below(directory)
    await pods.stop(pod)
    assert not mounts_below(directory)
    assert not directory.exists()


async def test_the_last_message_reaches_the_node(pods: PodRunner) -> None:
    pod = make_pod(main=["sh", "-c", "echo it broke > /dev/termination-log; exit 3"])
    ids = await pods.start(pod)
    status = await pods.exited(ids["main"])
    file = termination_message_file(pods.volumes.directory(pod.metadata.uid), "main", 0)
    assert (status.exit_code, file.read_text()) == (3, "it broke\n")


async def test_containers_of_a_shared_process_namespace_see_each_other_and_leave_no_zombies(pods: PodRunner) -> None:
    pod = make_pod(one=["sleep", "61"], two=["sleep", "62"])
    pod.spec.share_process_namespace = True
    ids = await pods.start(pod)
    assert "sleep 62" in await pods.run(ids["one"], "ps -o args")
    # An orphan goes to the sandbox's own process, which must not keep it.
    await pods.run(ids["one"], "(sleep 0.05 &) ; sleep 0.3")
    states = await pods.run(ids["one"], "cat /proc/[0-9]*/stat")
    assert "(pause)" in states
    assert [line for line in states.splitlines() if line.rpartition(")")[2].split()[0] == "Z"] == []


async def test_the_nodes_network_and_processes_can_be_used(pods: PodRunner, runtime_lab: RuntimeLab) -> None:
    pod = make_pod(main=["sleep", "60"])
    pod.spec.host_network = True
    pod.spec.host_pid = True
    ids = await pods.start(pod)
    addresses = await pods.run(ids["main"], "ip -o -4 addr")
    assert "10.244." not in addresses
    assert str(Path("/proc/1/comm").read_text().strip()) == (await pods.run(ids["main"], "cat /proc/1/comm")).strip()


async def test_listing_finds_what_labels_say(pods: PodRunner, cri: CriClient) -> None:
    pod = make_pod(main=["true"])
    await pods.start(pod)
    labels = {"io.kubernetes.pod.uid": pod.metadata.uid}
    sandboxes = await cri.list_pod_sandboxes(labels=labels)
    containers = await cri.list_containers(labels=labels)
    assert [each.state for each in sandboxes] == [cri_v1.SANDBOX_READY]
    assert [each.labels["io.kubernetes.container.name"] for each in containers] == ["main"]
    assert containers[0].annotations["navarch.dev/container.restart-count"] == "0"
    assert len(containers[0].annotations["navarch.dev/container.hash"]) == 16


def _cgroup_file(container_id: str, controller: str, first: str, second: str) -> str:
    """A setting of a container's cgroup, in version 1 or 2."""
    root = Path("/sys/fs/cgroup")
    old, new = root / controller / "navarch" / container_id / first, root / "navarch" / container_id / second
    return (old if old.is_file() else new).read_text().strip()
