"""Every path hangs below the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.paths import Paths

LAYOUT = {
    "etc": "/etc/navarch",
    "pki": "/etc/navarch/pki",
    "lib": "/var/lib/navarch",
    "store": "/var/lib/navarch/store",
    "node": "/var/lib/navarch/node",
    "containerd": "/var/lib/navarch/containerd",
    "run": "/run/navarch",
    "containerd_socket": "/run/navarch/containerd/containerd.sock",
    "log": "/var/log/navarch",
    "pod_logs": "/var/log/navarch/pods",
    "cni_conf": "/etc/navarch/cni",
}


@pytest.mark.parametrize(("name", "path"), LAYOUT.items())
def test_layout(name: str, path: str) -> None:
    assert getattr(Paths(), name) == Path(path)
    assert getattr(Paths(Path("/tmp/x")), name) == Path("/tmp/x" + path)


def test_kubeconfigs() -> None:
    assert Paths().kubeconfig("admin") == Path("/etc/navarch/admin.conf")


def test_a_relative_root_becomes_absolute() -> None:
    assert Paths(Path("here")).store == Path.cwd() / "here/var/lib/navarch/store"
