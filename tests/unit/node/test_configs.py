"""What a pod becomes in the runtime's terms: resources, security, names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.container_config import container_config, container_hash, resources
from agents.node.dns import Dns, Resolver
from agents.node.errors import ConfigError
from agents.node.sandbox_config import hostname, sandbox_config
from agents.node.security import container_security
from orchestrator.api.v1 import Container, Pod

ROOT_IMAGE = cri.Image(id="sha256:1")
NUMBERED_IMAGE = cri.Image(id="sha256:1", uid=cri.Int64Value(value=1000))
NAMED_IMAGE = cri.Image(id="sha256:1", username="app")
SECCOMP = Path("/profiles")
NODE_MEMORY = 8 << 30


def pod(**spec: object) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = "web", "shop", "u-1"
    made.metadata.labels["app"] = "web"
    made.spec.containers.add(name="main", image="registry.test/web:1")
    for name, value in spec.items():
        setattr(made.spec, name, value)
    return made


def asking(requests: dict[str, str], limits: dict[str, str]) -> Pod:
    made = pod()
    made.spec.containers[0].resources.requests.update(requests)
    made.spec.containers[0].resources.limits.update(limits)
    return made


@pytest.mark.parametrize(
    ("requests", "limits", "shares", "quota", "memory", "oom"),
    [
        ({}, {}, 2, 0, 0, 1000),
        ({"cpu": "250m"}, {}, 256, 0, 0, 999),
        ({"cpu": "1m"}, {}, 2, 0, 0, 999),
        ({"cpu": "2"}, {"cpu": "4"}, 2048, 400_000, 0, 999),
        ({}, {"cpu": "500m"}, 512, 50_000, 0, 999),
        ({}, {"cpu": "1m"}, 2, 1000, 0, 999),
        ({"memory": "2Gi"}, {"memory": "4Gi"}, 2, 0, 4 << 30, 750),
        ({"memory": "8Gi"}, {}, 2, 0, 0, 3),
        ({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}, 1024, 100_000, 1 << 30, -997),
    ],
)
def test_resources(
    requests: dict[str, str], limits: dict[str, str], shares: int, quota: int, memory: int, oom: int
) -> None:
    made = asking(requests, limits)
    found = resources(made, made.spec.containers[0], NODE_MEMORY)
    assert (found.cpu_shares, found.cpu_quota, found.memory_limit_in_bytes, found.oom_score_adj) == (
        shares,
        quota,
        memory,
        oom,
    )
    assert found.cpu_period == (100_000 if quota else 0)


def test_huge_pages_are_limited_by_size() -> None:
    made = asking({}, {"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi"})
    found = resources(made, made.spec.containers[0], NODE_MEMORY)
    assert [(each.page_size, each.limit) for each in found.hugepage_limits] == [("1GB", 1 << 30), ("2MB", 4 << 20)]


def security(fill: Callable[[Pod], object], image: cri.Image = ROOT_IMAGE) -> cri.LinuxContainerSecurityContext:
    made = pod()
    fill(made)
    return container_security(made, made.spec.containers[0], image, SECCOMP)


def test_nothing_asked_for_is_the_image_with_the_kernels_files_hidden() -> None:
    found = security(lambda made: None)
    assert not found.HasField("run_as_user")
    assert not found.HasField("seccomp")
    assert not found.privileged
    assert not found.no_new_privs
    assert "/proc/kcore" in found.masked_paths
    assert "/proc/sys" in found.readonly_paths


def test_the_containers_setting_wins_over_the_pods() -> None:
    def fill(made: Pod) -> None:
        made.spec.security_context.run_as_user = 1
        made.spec.security_context.run_as_group = 2
        made.spec.security_context.seccomp_profile.type = "RuntimeDefault"
        own = made.spec.containers[0].security_context
        own.run_as_user = 3
        own.seccomp_profile.type = "Localhost"
        own.seccomp_profile.localhost_profile = "strict.json"

    found = security(fill)
    assert (found.run_as_user.value, found.run_as_group.value) == (3, 2)
    assert found.seccomp.profile_type == cri.SecurityProfile.Localhost
    assert found.seccomp.localhost_ref == "/profiles/strict.json"


def only_group(made: Pod) -> None:
    made.spec.security_context.run_as_group = 50


@pytest.mark.parametrize(
    ("image", "user", "name"), [(ROOT_IMAGE, 0, ""), (NUMBERED_IMAGE, 1000, ""), (NAMED_IMAGE, 0, "app")]
)
def test_a_group_alone_goes_with_the_images_user(image: cri.Image, user: int, name: str) -> None:
    found = security(only_group, image)
    assert (found.run_as_user.value, found.run_as_username, found.run_as_group.value) == (user, name, 50)


def not_root(made: Pod) -> None:
    made.spec.security_context.run_as_non_root = True


def not_root_as(user: int) -> Callable[[Pod], object]:
    def fill(made: Pod) -> None:
        not_root(made)
        made.spec.containers[0].security_context.run_as_user = user

    return fill


@pytest.mark.parametrize(
    ("fill", "image", "refusal"),
    [
        (not_root, ROOT_IMAGE, "container has runAsNonRoot and image will run as root (container: main)"),
        (
            not_root,
            NAMED_IMAGE,
            "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root "
            "(container: main)",
        ),
        (
            not_root_as(0),
            NUMBERED_IMAGE,
            "container's runAsUser breaks non-root policy (container: main, runAsUser: 0)",
        ),
        (not_root, NUMBERED_IMAGE, None),
        (not_root_as(5), ROOT_IMAGE, None),
    ],
)
def test_root_is_refused_where_it_must_be(fill: Callable[[Pod], object], image: cri.Image, refusal: str | None) -> None:
    if refusal is None:
        security(fill, image)
        return
    with pytest.raises(ConfigError) as error:
        security(fill, image)
    assert error.value.message == refusal


def test_a_container_can_allow_root_that_its_pod_refuses() -> None:
    def fill(made: Pod) -> None:
        not_root(made)
        made.spec.containers[0].security_context.run_as_non_root = False

    security(fill, ROOT_IMAGE)


def test_privileges() -> None:
    def fill(made: Pod) -> None:
        own = made.spec.containers[0].security_context
        own.privileged = True
        own.capabilities.add.append("NET_ADMIN")
        own.capabilities.drop.append("ALL")
        own.allow_privilege_escalation = False

    found = security(fill)
    assert found.privileged
    assert not found.masked_paths
    assert (list(found.capabilities.add_capabilities), list(found.capabilities.drop_capabilities)) == (
        ["NET_ADMIN"],
        ["ALL"],
    )
    assert found.no_new_privs
    unmasked = security(lambda made: setattr(made.spec.containers[0].security_context, "proc_mount", "Unmasked"))
    assert not unmasked.masked_paths


def sandbox(made: Pod) -> cri.PodSandboxConfig:
    return sandbox_config(
        made,
        attempt=2,
        log_directory=Path("/logs/x"),
        dns=Dns(Resolver()),
        cgroup_parent="/navarch",
        seccomp_directory=SECCOMP,
    )


@pytest.mark.parametrize(
    ("spec", "network", "processes", "ipc"),
    [
        ({}, cri.POD, cri.CONTAINER, cri.POD),
        ({"share_process_namespace": True}, cri.POD, cri.POD, cri.POD),
        ({"host_network": True}, cri.NODE, cri.CONTAINER, cri.POD),
        ({"host_pid": True, "share_process_namespace": True}, cri.POD, cri.NODE, cri.POD),
        ({"host_ipc": True}, cri.POD, cri.CONTAINER, cri.NODE),
    ],
)
def test_namespaces(spec: dict[str, object], network: int, processes: int, ipc: int) -> None:
    made = pod(**spec)
    for found in (
        sandbox(made).linux.security_context.namespace_options,
        container_security(made, made.spec.containers[0], ROOT_IMAGE, SECCOMP).namespace_options,
    ):
        assert (found.network, found.pid, found.ipc) == (network, processes, ipc)


def test_a_sandbox_is_found_by_labels_that_users_cannot_forge() -> None:
    made = pod()
    made.metadata.labels["io.kubernetes.pod.uid"] = "another"
    made.spec.security_context.sysctls.add(name="net/core/somaxconn", value="1024")
    made.spec.containers[0].ports.add(container_port=80, host_port=8080)
    found = sandbox(made)
    assert (found.metadata.name, found.metadata.namespace, found.metadata.uid, found.metadata.attempt) == (
        "web",
        "shop",
        "u-1",
        2,
    )
    assert found.labels == {
        "app": "web",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.uid": "u-1",
    }
    assert found.linux.sysctls == {"net.core.somaxconn": "1024"}
    # The proxy opens host ports.
    assert not found.port_mappings


def test_a_privileged_container_needs_a_privileged_sandbox() -> None:
    made = pod()
    assert not sandbox(made).linux.security_context.privileged
    made.spec.init_containers.add(name="init").security_context.privileged = True
    assert sandbox(made).linux.security_context.privileged


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, "web"),
        ({"hostname": "db-0"}, "db-0"),
        ({"host_network": True, "hostname": "db-0"}, ""),
        ({"hostname": "db-0", "hostname_override": "x.example.org"}, "x.example.org"),
    ],
)
def test_host_names(spec: dict[str, object], name: str) -> None:
    assert hostname(pod(**spec)) == name


def test_a_long_name_is_cut_to_a_host_name() -> None:
    made = pod()
    made.metadata.name = "a" * 62 + "-" + "b" * 10
    assert hostname(made) == "a" * 62


def config(made: Pod, attempt: int = 3, environment: dict[str, str] | None = None) -> cri.ContainerConfig:
    return container_config(
        made,
        made.spec.containers[0],
        attempt=attempt,
        image=ROOT_IMAGE,
        environment=environment or {},
        mounts=[],
        node_memory=NODE_MEMORY,
        seccomp_directory=SECCOMP,
    )


def test_command_and_arguments_are_expanded() -> None:
    made = pod()
    made.spec.containers[0].command.extend(["run", "$(MODE)"])
    made.spec.containers[0].args.extend(["--x=$(X)", "$(UNKNOWN)", "$$(X)"])
    found = config(made, environment={"MODE": "fast", "X": "1"})
    assert (list(found.command), list(found.args)) == (["run", "fast"], ["--x=1", "$(UNKNOWN)", "$(X)"])
    assert [(each.key, each.value) for each in found.envs] == [("MODE", "fast"), ("X", "1")]


def test_a_container_says_what_it_is() -> None:
    found = config(pod())
    assert found.labels["io.kubernetes.container.name"] == "main"
    assert found.annotations["navarch.dev/container.restart-count"] == "3"
    assert (found.metadata.name, found.metadata.attempt, found.log_path) == ("main", 3, "main/3.log")
    assert found.image.image == "sha256:1"


def test_the_hash_changes_with_the_container_and_only_with_it() -> None:
    one, same, other = (Container(name="main", image="a") for _ in range(3))
    for made, order in ((one, ("a", "b")), (same, ("b", "a"))):
        for key in order:
            made.resources.limits[key] = "1"
    other.image = "b"
    assert container_hash(one) == container_hash(same)
    assert container_hash(one) != container_hash(other)
