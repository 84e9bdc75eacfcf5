"""The kernel's packet rules, through libnftables in this process.

A change is one call with the text of one transaction: all of it takes effect at once, or nothing does and the message
says which line was wrong. Calling the library saves the start of an `nft` process for each change. The library is not
safe for two threads on one context, so a `Nftables` holds a lock; `apply` runs in a worker thread because a big
transaction takes the kernel longer than an event loop may stand still.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from functools import cache

_LIBRARY = "libnftables.so.1"


class NftablesError(Exception):
    """The kernel or the parser refused a transaction; the text says where and why."""


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise NftablesError(f"{_LIBRARY} can't be loaded ({error}): install the package nftables") from error
    context = ctypes.c_void_p
    library.nft_ctx_new.restype = context
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [context]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [context]
    library.nft_run_cmd_from_buffer.restype = ctypes.c_int
    library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    return library


class Nftables:
    """Runs transactions in the network namespace of this process."""

    def __init__(self) -> None:
        self._library = _library()
        self._lock = threading.Lock()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftablesError("libnftables gave no context")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Runs `commands` (the syntax of `nft -f`) as one transaction and returns what they print.

        Raises NftablesError when they are refused; nothing is changed then.
        """
        with self._lock:
            failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
            output = self._library.nft_ctx_get_output_buffer(self._context)
            error = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise NftablesError((error or b"").decode(errors="replace").strip() or "the transaction was refused")
        return (output or b"").decode(errors="replace")

    async def apply(self, commands: str) -> None:
        """`run` in a worker thread. Raises NftablesError."""
        await asyncio.to_thread(self.run, commands)


def remove_table(name: str) -> str:
    """The commands that remove a table of the family `ip`, whether it exists or not."""
    return f"add table ip {name}\ndelete table ip {name}\n"
