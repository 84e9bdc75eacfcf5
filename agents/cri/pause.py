"""The program that holds a pod's namespaces, as an executable file made right here.

It lives as long as the pod. It ends at SIGTERM or SIGINT and otherwise only waits; as process 1 of a shared process
namespace it inherits orphans, which the kernel reaps by itself because SIGCHLD is ignored (POSIX, and signal(7) under
SIGCHLD). That is four system calls, so it is assembled from a table of instructions: a machine needs neither a
compiler nor a registry to run its first pod, and a pod costs a single page of memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

_BASE = 0x400000
_HEADERS = 64 + 56

_SIGINT, _SIGTERM, _SIGCHLD = 2, 15, 17
_SIG_IGN = 1
# x86-64 refuses a handler without it; where the handler returns to doesn't matter, for it doesn't return.
_SA_RESTORER = 0x04000000
# The size of the kernel's signal mask, an argument of rt_sigaction.
_MASK_SIZE = 8


@dataclass(frozen=True, slots=True)
class _Code:
    """Machine code, and where in it the handler of SIGTERM begins."""

    text: bytes
    handler: int


class UnsupportedMachineError(Exception):
    """There is no pause program for this processor."""


def pause_program(machine: str) -> bytes:
    """An ELF executable for a processor, named as `uname -m` names it."""
    try:
        elf_machine, assemble = _MACHINES[machine]
    except KeyError:
        known = " and ".join(sorted(_MACHINES))
        raise UnsupportedMachineError(
            f"there is no pause program for {machine} (only for {known}): name a pause image for this processor"
        ) from None
    start = _BASE + _HEADERS
    # The length of the code doesn't depend on the addresses in it: assemble once to learn it.
    length = -(-len(assemble(0, 0, 0).text) // 8) * 8
    on_end, on_child = start + length, start + length + 32
    code = assemble(start, on_end, on_child)
    actions = struct.pack("<4Q", start + code.handler, _SA_RESTORER, start + code.handler, 0)
    actions += struct.pack("<4Q", _SIG_IGN, 0, 0, 0)
    body = code.text.ljust(length, b"\0") + actions
    size = _HEADERS + len(body)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 2, elf_machine, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    readable_executable = 5
    segment = struct.pack("<IIQQQQQQ", 1, readable_executable, 0, _BASE, _BASE, size, size, 0x10000)
    return header + segment + body


def _x86_64(start: int, on_end: int, on_child: int) -> _Code:
    def load(opcode: str, value: int) -> bytes:
        return bytes.fromhex(opcode) + struct.pack("<I", value)

    eax, edx, esi, edi, r10d = "b8", "ba", "be", "bf", "41ba"
    syscall = bytes.fromhex("0f05")
    rt_sigaction, pause, exit_group = 13, 34, 231
    text = b"".join(
        [
            load(edi, _SIGTERM),
            load(esi, on_end),
            load(edx, 0),
            load(r10d, _MASK_SIZE),
            load(eax, rt_sigaction),
            syscall,
            load(edi, _SIGINT),
            load(eax, rt_sigaction),
            syscall,
            load(edi, _SIGCHLD),
            load(esi, on_child),
            load(eax, rt_sigaction),
            syscall,
            load(eax, pause),
            syscall,
            bytes.fromhex("ebf7"),  # jmp to the load before
        ]
    )
    return _Code(text + load(edi, 0) + load(eax, exit_group) + syscall, handler=len(text))


def _aarch64(start: int, on_end: int, on_child: int) -> _Code:
    def load(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    def load_address(register: int, address: int, at: int) -> int:
        distance = address - (start + 4 * at)
        return 0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5 | register

    svc = 0xD4000001
    number = 8
    rt_sigaction, ppoll, exit_group = 134, 73, 94
    words = [
        load(0, _SIGTERM),
        load_address(1, on_end, 1),
        load(2, 0),
        load(3, _MASK_SIZE),
        load(number, rt_sigaction),
        svc,
        load(0, _SIGINT),
        svc,
        load(0, _SIGCHLD),
        load_address(1, on_child, 9),
        svc,
        # There is no pause here; ppoll of nothing, without end, is the same.
        load(0, 0),
        load(1, 0),
        load(2, 0),
        load(3, 0),
        load(number, ppoll),
        svc,
        0x14000000 | -6 & 0x3FFFFFF,  # b to the first load of ppoll's arguments
    ]
    handler = [load(0, 0), load(number, exit_group), svc]
    return _Code(struct.pack(f"<{len(words) + 3}I", *words, *handler), handler=4 * len(words))


_MACHINES: dict[str, tuple[int, Callable[[int, int, int], _Code]]] = {
    "x86_64": (62, _x86_64),
    "aarch64": (183, _aarch64),
}
