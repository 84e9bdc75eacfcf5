"""What this machine is and has: its name, its address, and the programs a node cannot do without."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

# Program or file -> the Debian package that brings it.
_NEEDED = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "busybox": "busybox-static",
}
CNI_DIRECTORIES = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))
_CNI_PLUGINS = ("ptp", "host-local", "loopback")


def node_name() -> str:
    """The host name, as Kubernetes wants node names: lower case."""
    return socket.gethostname().split(".")[0].lower()


def node_address() -> str:
    """The address other machines reach this one by: the source address towards the default route, without one the
    first address that is not loopback, and without any of those 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.254", 9))  # a documentation address: a UDP connect sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            pass
    for name in (name for _, name in socket.if_nameindex() if name != "lo"):
        if address := _interface_address(name):
            return address
    return "127.0.0.1"


def _interface_address(name: str) -> str | None:
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            reply = fcntl.ioctl(probe.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
        except OSError:
            return None
    return socket.inet_ntoa(reply[20:24])


def cni_directory() -> Path | None:
    """Where the CNI plugins are, or None when no directory has all that we use."""
    for directory in CNI_DIRECTORIES:
        if all((directory / plugin).exists() for plugin in _CNI_PLUGINS):
            return directory
    return None


def obstacles() -> Sequence[str]:
    """Why a node can't run here, one sentence each with what to do about it; empty when it can."""
    found: list[str] = []
    if os.geteuid() != 0:
        found.append("a node needs root (containers, network namespaces, nftables): run it with sudo")
    packages = {package for program, package in _NEEDED.items() if shutil.which(program) is None}
    if cni_directory() is None:
        packages.add("containernetworking-plugins")
    if packages:
        found.append(f"programs are missing: apt-get install {' '.join(sorted(packages))}")
    if not _may_administer():
        found.append("CAP_SYS_ADMIN and CAP_NET_ADMIN are needed and missing here (a container without --privileged?)")
    return found


def taken_ports(ports: Iterable[int]) -> Sequence[int]:
    """Those of the TCP ports that something listens on already."""
    taken = []
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                taken.append(port)
    return taken


def _may_administer() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    sys_admin, net_admin = 21, 12
    return bool(effective >> sys_admin & 1 and effective >> net_admin & 1)
