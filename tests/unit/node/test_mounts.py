"""What is mounted into a container, as far as no mount has to be made for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.cri.v1 import runtime_pb2 as cri
from agents.node.errors import ConfigError
from agents.node.mounts import container_mounts, hosts_file, termination_message_file
from orchestrator.api.v1 import Pod


def pod() -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid = "web", "shop", "u-1"
    made.spec.containers.add(name="main", termination_message_path="/dev/termination-log")
    return made


def mounts(made: Pod, directory: Path, **volumes: Path) -> dict[str, cri.Mount]:
    found = container_mounts(
        made,
        made.spec.containers[0],
        attempt=2,
        volumes=volumes,
        environment={},
        directory=directory,
        pod_ips=["10.244.0.7"],
    )
    assert len({mount.container_path for mount in found}) == len(found)
    return {mount.container_path: mount for mount in found}


def test_every_container_gets_hosts_and_a_place_for_its_last_message(tmp_path: Path) -> None:
    found = mounts(pod(), tmp_path)
    assert found.keys() == {"/etc/hosts", "/dev/termination-log"}
    assert "10.244.0.7\tweb\n" in Path(found["/etc/hosts"].host_path).read_text()
    message = termination_message_file(tmp_path, "main", 2)
    assert found["/dev/termination-log"].host_path == str(message)
    # Whoever the container runs as writes it; what it has written stays.
    assert message.stat().st_mode & 0o777 == 0o666
    message.write_text("kept")
    mounts(pod(), tmp_path)
    assert message.read_text() == "kept"


def test_what_the_user_mounts_there_wins(tmp_path: Path) -> None:
    made = pod()
    made.spec.containers[0].volume_mounts.add(name="v", mount_path="/etc/hosts")
    assert mounts(made, tmp_path, v=Path("/data"))["/etc/hosts"].host_path == "/data"


@pytest.mark.parametrize(
    ("asked", "set_to"),
    [
        ("", cri.PROPAGATION_PRIVATE),
        ("None", cri.PROPAGATION_PRIVATE),
        ("HostToContainer", cri.PROPAGATION_HOST_TO_CONTAINER),
        ("Bidirectional", cri.PROPAGATION_BIDIRECTIONAL),
    ],
)
def test_propagation(tmp_path: Path, asked: str, set_to: int) -> None:
    made = pod()
    mount = made.spec.containers[0].volume_mounts.add(name="v", mount_path="data")
    if asked:
        mount.mount_propagation = asked
    found = mounts(made, tmp_path, v=Path("/data"))["/data"]
    assert (found.propagation, found.readonly) == (set_to, False)


def test_projections_are_read_only_whatever_is_said(tmp_path: Path) -> None:
    made = pod()
    made.spec.volumes.add(name="v").config_map.name = "cm"
    made.spec.containers[0].volume_mounts.add(name="v", mount_path="/data")
    assert mounts(made, tmp_path, v=Path("/data"))["/data"].readonly


def test_a_volume_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = pod()
    made.spec.containers[0].volume_mounts.add(name="absent", mount_path="/data")
    with pytest.raises(ConfigError, match='"absent"'):
        mounts(made, tmp_path)


def test_hosts_with_subdomain_and_aliases() -> None:
    made = pod()
    made.spec.hostname, made.spec.subdomain = "db-0", "db"
    made.spec.host_aliases.add(ip="192.0.2.9", hostnames=["a", "b"])
    lines = hosts_file(made, ["10.244.0.7", "fd00::7"], "", "cluster.local").splitlines()
    assert "10.244.0.7\tdb-0.db.shop.svc.cluster.local\tdb-0" in lines
    assert "fd00::7\tdb-0.db.shop.svc.cluster.local\tdb-0" in lines
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-1] == "192.0.2.9\ta\tb"


def test_hosts_in_the_nodes_network_are_the_nodes() -> None:
    made = pod()
    made.spec.host_network = True
    made.spec.host_aliases.add(ip="192.0.2.9", hostnames=["a"])
    assert hosts_file(made, ["192.0.2.1"], "127.0.0.1 localhost n1\n", "x") == "127.0.0.1 localhost n1\n192.0.2.9\ta\n"
