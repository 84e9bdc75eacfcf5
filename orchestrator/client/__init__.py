"""The way to the API server for everyone who is not part of it: a typed client, and informers that follow one kind.

The informer is imported when it is first asked for: a command line has no use for it.
"""

import os
from typing import TYPE_CHECKING

# gRPC's core writes about failed handshakes to standard error, past our logs; the errors that calls raise say the same.
# It reads this while it is imported, so it is set before.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from orchestrator.client.client import Change, ChangeType, Client, Listing
from orchestrator.client.exec import Channel, ExecSession
from orchestrator.client.operations import Bind, Create, Delete, Patch, PatchType, Update

if TYPE_CHECKING:
    from orchestrator.client.informer import Informer

__all__ = [
    "Bind",
    "Change",
    "ChangeType",
    "Channel",
    "Client",
    "Create",
    "Delete",
    "ExecSession",
    "Informer",
    "Listing",
    "Patch",
    "PatchType",
    "Update",
]


def __getattr__(name: str) -> object:
    if name == "Informer":
        from orchestrator.client.informer import Informer

        return Informer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
