"""What this machine is and has, read from the kernel's files. The parsers are pure; `Machine.read` does the reading.

A file that isn't there (containers and small boards lack some) leaves its field empty: none is needed to run pods.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_UNITS = {"": 1, "kB": 1024}


@dataclass(frozen=True, slots=True)
class Machine:
    """What doesn't change while the agent runs; sizes in bytes."""

    cpus: int
    memory: int
    swap: int = 0
    # Huge pages that are set aside: their size, and how many bytes of them.
    huge_page: int = 0
    huge_pages: int = 0
    architecture: str = ""
    kernel: str = ""
    os_image: str = ""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""

    @classmethod
    def read(cls) -> Machine:
        memory = parse_meminfo(_text("/proc/meminfo"))
        page = memory.get("Hugepagesize", 0)
        return cls(
            cpus=os.cpu_count() or 1,
            memory=memory.get("MemTotal", 0),
            swap=memory.get("SwapTotal", 0),
            huge_page=page,
            huge_pages=page * memory.get("HugePages_Total", 0),
            architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
            kernel=platform.release(),
            os_image=parse_os_release(_text("/etc/os-release")).get("PRETTY_NAME", ""),
            machine_id=_text("/etc/machine-id").strip(),
            system_uuid=_text("/sys/class/dmi/id/product_uuid").strip(),
            boot_id=_text("/proc/sys/kernel/random/boot_id").strip(),
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that pods' files are on; sizes in bytes."""

    size: int
    free: int
    inodes: int = 0
    inodes_free: int = 0

    @classmethod
    def read(cls, directory: Path) -> Disk:
        found = os.statvfs(_existing(directory))
        return cls(
            size=found.f_blocks * found.f_frsize,
            free=found.f_bavail * found.f_frsize,
            inodes=found.f_files,
            inodes_free=found.f_favail,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """What is left right now."""

    memory_available: int
    disk: Disk
    # Threads there are, and how many there can be.
    threads: int = 0
    threads_limit: int = 0

    @classmethod
    def read(cls, directory: Path) -> Usage:
        return cls(
            memory_available=parse_meminfo(_text("/proc/meminfo")).get("MemAvailable", 0),
            disk=Disk.read(directory),
            threads=parse_threads(_text("/proc/loadavg")),
            threads_limit=min(_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max")),
        )


def parse_meminfo(text: str) -> Mapping[str, int]:
    """/proc/meminfo, in bytes (proc_meminfo(5)); counts, which have no unit, as they are."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        match rest.split():
            case [number] if number.isdecimal():
                found[name] = int(number)
            case [number, unit] if number.isdecimal() and unit in _UNITS:
                found[name] = int(number) * _UNITS[unit]
    return found


def parse_os_release(text: str) -> Mapping[str, str]:
    """os-release(5): assignments in the shell's manner, without its substitutions."""
    found = {}
    for line in text.splitlines():
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith("#"):
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[name] = value.replace('\\"', '"').replace("\\$", "$").replace("\\`", "`").replace("\\\\", "\\")
    return found


def parse_threads(loadavg: str) -> int:
    """How many threads exist: the number after the slash in /proc/loadavg (proc_loadavg(5))."""
    match loadavg.split():
        case [_, _, _, entities, *_]:
            _, _, existing = entities.partition("/")
            return int(existing) if existing.isdecimal() else 0
    return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _existing(directory: Path) -> Path:
    """The nearest directory above that is there: at the first start nothing of ours is."""
    return next(each for each in (directory, *directory.parents) if each.exists())
