"""Where Navarch keeps its files: everything hangs below one root directory.

The installed system lives at `/`; a development cluster and every test get a directory of their own (`--root DIR`),
and no path is ever built anywhere else, so they can't touch the machine's. Nothing here creates or reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The layout below `root`. Owners create their directories themselves, with the mode they need."""

    root: Path = Path("/")

    def __post_init__(self) -> None:
        # Paths are passed to other programs, which may run in another directory: only an absolute one stays right.
        object.__setattr__(self, "root", Path(self.root).absolute())

    @property
    def etc(self) -> Path:
        return self.root / "etc" / "navarch"

    @property
    def pki(self) -> Path:
        return self.etc / "pki"

    @property
    def lib(self) -> Path:
        return self.root / "var" / "lib" / "navarch"

    @property
    def store(self) -> Path:
        return self.lib / "store"

    @property
    def node(self) -> Path:
        return self.lib / "node"

    @property
    def containerd(self) -> Path:
        return self.lib / "containerd"

    @property
    def run(self) -> Path:
        return self.root / "run" / "navarch"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd" / "containerd.sock"

    @property
    def log(self) -> Path:
        return self.root / "var" / "log" / "navarch"

    @property
    def pod_logs(self) -> Path:
        return self.log / "pods"

    @property
    def cni_conf(self) -> Path:
        """The network configuration of our own runtime, apart from that of the machine's."""
        return self.etc / "cni"

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of one identity: "admin", "scheduler", "controllers", "node", "proxy", "network"."""
        return self.etc / f"{name}.conf"
