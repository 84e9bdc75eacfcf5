"""The way to the API server for everyone who is not part of it: a typed client, and informers that follow one kind."""

import os

# gRPC's core writes about failed handshakes to standard error, past our logs; the errors that calls raise say the same.
# It reads this while it is imported, so it is set before.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from orchestrator.client.client import Change, ChangeType, Client, Listing
from orchestrator.client.exec import Channel, ExecSession
from orchestrator.client.informer import Informer
from orchestrator.client.operations import Bind, Create, Delete, Patch, PatchType, Update

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
