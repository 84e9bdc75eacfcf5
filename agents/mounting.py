"""The kernel's mount calls, which Python's library doesn't have: mount, umount2, openat2.

All of them raise OSError. Paths are those of this process's mount namespace, which is also the runtime's.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import re
import struct
from pathlib import Path

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
_MNT_DETACH = 0x2
_UMOUNT_NOFOLLOW = 0x8

# openat2(2)
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    done = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode() or None
    )
    if done != 0:
        raise _error(target)


def bind(source: str, target: Path) -> None:
    """Shows `source` at `target` too; both are directories or both are not."""
    mount(source, target, "none", MS_BIND)


def unmount(target: Path) -> None:
    """A file system in use disappears from the tree at once, and ends when its last user does."""
    if _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW) == 0:
        return
    if ctypes.get_errno() == errno.EBUSY and _libc.umount2(os.fsencode(target), _UMOUNT_NOFOLLOW | _MNT_DETACH) == 0:
        return
    raise _error(target)


def mounts_below(directory: Path) -> list[Path]:
    """All mount points at and below a directory, the innermost and latest first: the order to unmount them in."""
    prefix = str(directory)
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = _unescaped(line.split(" ")[4])
        if point == prefix or point.startswith(prefix.rstrip("/") + "/"):
            found.append(Path(point))
    # Stable: of two mounts on one point the later one stays behind the earlier, and the reversal puts it in front.
    return sorted(found, key=lambda path: len(path.parts))[::-1]


def unmount_below(directory: Path) -> None:
    """Unmounts all there is at and below a directory."""
    for point in mounts_below(directory):
        unmount(point)


def is_mount_point(path: Path) -> bool:
    return path in mounts_below(path)


def open_beneath(root: int, path: str, flags: int) -> int:
    """Opens a path below a directory; links in it are followed as long as they don't lead out (EXDEV if they do)."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    descriptor = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(root), os.fsencode(path), how, ctypes.c_size_t(len(how))
    )
    if descriptor < 0:
        raise _error(path)
    return int(descriptor)


def _error(path: Path | str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))


def _unescaped(text: str) -> str:
    """mountinfo writes blanks and such as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
