"""What is mounted into a container: its volumes, /etc/hosts, and the file for its last message.

A `subPath` names a file or directory inside a volume that other containers may be writing to at this very moment. It
is therefore opened step by step by the kernel's own rule "stay beneath" (openat2(2)), and what was opened is pinned by
a bind mount; the runtime gets the pinned path, which nobody can redirect any more.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.cri.v1 import runtime_pb2 as cri
from agents.mounting import bind, mounts_below, open_beneath, unmount
from agents.node.environment import expand
from agents.node.errors import ConfigError
from agents.node.path_part import path_part
from agents.node.projection import is_projection
from agents.node.sandbox_config import hostname
from orchestrator.api.v1 import Container, Pod, VolumeMount
from orchestrator.atomic_file import write_atomically

_PROPAGATION = {
    "HostToContainer": cri.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri.PROPAGATION_BIDIRECTIONAL,
}
_HOSTS = "/etc/hosts"
_NODE_HOSTS = Path("/etc/hosts")


def container_mounts(
    pod: Pod,
    container: Container,
    *,
    attempt: int,
    volumes: Mapping[str, Path],
    environment: Mapping[str, str],
    directory: Path,
    pod_ips: Sequence[str],
    cluster_domain: str = "cluster.local",
) -> list[cri.Mount]:
    """The container's mounts; makes the files behind them.

    `volumes` comes from `Volumes.prepare`, `directory` is the pod's. Raises ConfigError.
    """
    projected = {volume.name for volume in pod.spec.volumes if is_projection(volume)}
    mounts = []
    for index, wanted in enumerate(container.volume_mounts):
        source = _source(container, wanted, index, volumes, environment, directory)
        mounts.append(
            cri.Mount(
                container_path=_absolute(wanted.mount_path),
                host_path=str(source),
                readonly=wanted.read_only or wanted.name in projected,
                propagation=_PROPAGATION.get(wanted.mount_propagation, cri.PROPAGATION_PRIVATE),
            )
        )
    taken = {mount.container_path for mount in mounts}
    if _HOSTS not in taken:
        file = directory / "etc-hosts"
        _write(file, hosts_file(pod, pod_ips, _node_hosts(pod), cluster_domain))
        mounts.append(cri.Mount(container_path=_HOSTS, host_path=str(file)))
    message_path = container.termination_message_path
    if message_path and message_path not in taken:
        file = termination_message_file(directory, container.name, attempt)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            # Whoever the container runs as may write it.
            file.chmod(0o666)
        mounts.append(cri.Mount(container_path=_absolute(message_path), host_path=str(file)))
    return mounts


def termination_message_file(directory: Path, container_name: str, attempt: int) -> Path:
    """The node's side of the container's terminationMessagePath."""
    return directory / "containers" / path_part(container_name) / f"{attempt}.message"


def hosts_file(pod: Pod, pod_ips: Sequence[str], node_hosts: str, cluster_domain: str) -> str:
    """The content of /etc/hosts. In the node's network it is the node's own file; hostAliases are added in any case."""
    if pod.spec.host_network:
        lines = [node_hosts.rstrip("\n")] if node_hosts else []
    else:
        lines = [
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "ff02::1\tip6-allnodes",
            "ff02::2\tip6-allrouters",
        ]
        own = hostname(pod)
        names = [own]
        if pod.spec.subdomain:
            names.insert(0, f"{own}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}")
        lines += [f"{address}\t" + "\t".join(names) for address in pod_ips]
    lines += [f"{alias.ip}\t" + "\t".join(alias.hostnames) for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def _node_hosts(pod: Pod) -> str:
    return _NODE_HOSTS.read_text() if pod.spec.host_network and _NODE_HOSTS.is_file() else ""


def _write(file: Path, content: str) -> None:
    if file.is_file() and file.read_text() == content:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content.encode(), mode=0o644)


def _source(
    container: Container,
    wanted: VolumeMount,
    index: int,
    volumes: Mapping[str, Path],
    environment: Mapping[str, str],
    directory: Path,
) -> Path:
    volume = volumes.get(wanted.name)
    if volume is None:
        raise ConfigError(f'volume mount names a volume that the pod does not have: "{wanted.name}"')
    path = expand(wanted.sub_path_expr, environment) if wanted.sub_path_expr else wanted.sub_path
    if not path:
        return volume
    pinned = directory / "subpaths" / path_part(container.name) / str(index)
    try:
        pin_sub_path(volume, path, pinned)
    except OSError as error:
        why = "it leads out of the volume" if error.errno == errno.EXDEV else error.strerror
        raise ConfigError(f'failed to prepare subPath "{path}" of volume "{wanted.name}": {why}') from error
    return pinned


def pin_sub_path(volume: Path, path: str, pinned: Path) -> None:
    """Makes the file or directory `path` of the volume appear at `pinned`; a missing one becomes a directory
    with the volume's mode, so that whoever may write to the volume may write to it too.

    Raises OSError, with EXDEV when the path leads out of the volume.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    found = _open(volume, parts)
    try:
        for point in mounts_below(pinned):
            unmount(point)
        _placeholder(pinned, directory=stat.S_ISDIR(os.fstat(found).st_mode))
        bind(f"/proc/self/fd/{found}", pinned)
    finally:
        os.close(found)


def _open(volume: Path, parts: Sequence[str]) -> int:
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            return open_beneath(root, "/".join(parts) or ".", os.O_PATH)
        except FileNotFoundError:
            pass
        parent = os.dup(root)
        for depth, part in enumerate(parts):
            try:
                following = open_beneath(root, "/".join(parts[: depth + 1]), os.O_PATH)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=parent)
                following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
                os.fchmod(following, stat.S_IMODE(os.fstat(root).st_mode))
            finally:
                os.close(parent)
            parent = following
        return parent
    finally:
        os.close(root)


def _placeholder(pinned: Path, *, directory: bool) -> None:
    """Something of the right kind to mount over."""
    pinned.parent.mkdir(parents=True, exist_ok=True)
    if pinned.exists() and pinned.is_dir() != directory:
        pinned.rmdir() if pinned.is_dir() else pinned.unlink()
    if directory:
        pinned.mkdir(exist_ok=True)
    else:
        pinned.touch()


def _absolute(path: str) -> str:
    return path if path.startswith("/") else "/" + path
