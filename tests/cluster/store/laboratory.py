"""The machines of a run: a network namespace for each place a member can be, joined by a bridge, and a directory.

The bridge is in a namespace of its own, where the clients are. What one place hears of another is cut by nftables in
the place that hears, so a cut can go one way only. Small file systems are tmpfs, to be filled.

Everything carries the laboratory's name, with the number of the process that made it: `sweep` removes what such a
process left when it was killed. Members die with the process that started them.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PREFIX: Final = "nvtorture"
_NAME = re.compile(rf"{_PREFIX}-(\d+)-[0-9a-f]+")
_COMMAND_SECONDS: Final = 30.0
SMALL_DISK: Final = 24 << 20
PLACES: Final = range(7)


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """Made, and removed again whatever happens within."""
    sweep()
    made = Laboratory(f"{_PREFIX}-{os.getpid()}-{secrets.token_hex(2)}")
    try:
        made.directory.mkdir(mode=0o700)
        made.make_network()
        yield made
    finally:
        _remove(made.name)


class Laboratory:
    """One that was made, by this process or another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = Path(tempfile.gettempdir()) / name

    # Where.

    @staticmethod
    def address(place: int, *, moved: bool = False) -> str:
        """Every place has two addresses, so that a member can move."""
        return f"10.77.0.{place + (111 if moved else 11)}"

    def namespace(self, place: int | None) -> str:
        """The network namespace of a place; None: the clients'."""
        return self.name if place is None else f"{self.name}-{place}"

    def inside(self, place: int | None, *command: str) -> list[str]:
        """A command line that runs at a place. Nothing but the network is the place's own."""
        return ["nsenter", f"--net=/run/netns/{self.namespace(place)}", *command]

    def disk(self, name: str, *, small: bool) -> Path:
        """A new directory; `small`: on a file system of its own that can be filled."""
        path = self.directory / "disks" / name
        path.mkdir(parents=True)
        if small:
            _run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", self.name, str(path)])
        return path

    def cut(self, deaf_to: Mapping[int, Collection[int]]) -> None:
        """From now on each place hears nothing of the places it is `deaf_to`; those not named hear everybody."""
        for place in PLACES:
            addresses = [
                self.address(other, moved=moved) for other in sorted(deaf_to.get(place, ())) for moved in (False, True)
            ]
            elements = f"add element ip nemesis cut {{ {', '.join(addresses)} }}" if addresses else ""
            _run(self.inside(place, "nft", "-f", "-"), f"flush set ip nemesis cut\n{elements}\n")

    def make_network(self) -> None:
        self._make_namespace(None)
        for command in (
            "ip link add bridge type bridge",
            "ip address add 10.77.0.1/24 dev bridge",
            "ip link set bridge up",
        ):
            _run(self.inside(None, *command.split()))
        for place in PLACES:
            self._make_namespace(place)
            there = self.namespace(place)
            _run(self.inside(None, *f"ip link add place{place} type veth peer name eth0 netns {there}".split()))
            _run(self.inside(None, "ip", "link", "set", f"place{place}", "master", "bridge", "up"))
            for moved in (False, True):
                address = f"{self.address(place, moved=moved)}/24"
                _run(self.inside(place, "ip", "address", "add", address, "dev", "eth0"))
            _run(self.inside(place, "ip", "link", "set", "eth0", "up"))
            _run(self.inside(place, "nft", "-f", "-"), _RULES)

    def _make_namespace(self, place: int | None) -> None:
        _run(["ip", "netns", "add", self.namespace(place)])
        _run(self.inside(place, "ip", "link", "set", "lo", "up"))


_RULES = """
table ip nemesis {
  set cut {
    type ipv4_addr
  }
  chain input {
    type filter hook input priority 0
    ip saddr @cut drop
  }
}
"""


def sweep() -> None:
    """Remove what laboratories left whose process was killed."""
    for name, maker in leftovers().items():
        if not Path("/proc", str(maker)).exists():
            _remove(name)


def leftovers() -> Mapping[str, int]:
    """The laboratories of which anything is there, with the process each was made by."""
    places = (Path("/run/netns"), Path(tempfile.gettempdir()))
    found = [_NAME.match(path.name) for place in places for path in place.glob(f"{_PREFIX}-*")]
    return {match[0]: int(match[1]) for match in found if match}


def _remove(name: str) -> None:
    directory = Path(tempfile.gettempdir()) / name
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", point], check=False)
    # Those of the places, then the bridge's.
    for path in sorted(Path("/run/netns").glob(f"{name}*"), reverse=True):
        subprocess.run(["ip", "netns", "delete", path.name], check=False)
    shutil.rmtree(directory, ignore_errors=True)


def _run(command: Sequence[str], text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
