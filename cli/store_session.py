"""Talking to the store itself, for the commands that look after it: members, snapshots, keys and values.

They ask the API servers that the kubeconfig names, each of which has a member of the store in it. A server that says
it does not serve is asked all the same: it is then that one wants to know why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cli.failure import Failure
from cli.target import Target
from orchestrator.client.channel import EVERY_SERVER
from orchestrator.kubeconfig import Connection
from orchestrator.store.errors import (
    ChangeInProgress,
    Compacted,
    FutureRevision,
    MemberExists,
    MemberNotReady,
    NothingWritten,
    QuorumAtRisk,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UnknownMember,
)
from orchestrator.store.store_client import ClientCredentials, Endpoint, StoreClient

T = TypeVar("T")

Work = Callable[[StoreClient], Awaitable[T]]


def addresses(connection: Connection) -> list[str]:
    """The address of each server."""
    return connection.address.split(",")


def store_client(connection: Connection, *only: str) -> StoreClient:
    """A client of the stores in all servers of a kubeconfig, or in these."""
    several = len(addresses(connection)) > 1
    endpoints = [Endpoint(each, EVERY_SERVER if several else "") for each in only or addresses(connection)]
    return StoreClient(endpoints, ClientCredentials(connection.ca, connection.certificate, connection.key))


def run(target: Target, work: Work[T]) -> T:
    """Connects, runs `work(client)` and closes the connection. Raises Failure for what the store refuses."""
    connection = target.connection()

    async def session() -> T:
        async with store_client(connection) as client:
            return await work(client)

    try:
        return asyncio.run(session())
    except StoreError as error:
        raise Failure(words(error)) from error


def words(error: StoreError) -> str:
    """What to tell a person, with what can be done."""
    hint = next((hint for kinds, hint in _HINTS if isinstance(error, kinds)), "")
    return f"{error} ({hint})" if hint else str(error)


_HINTS: tuple[tuple[type[StoreError] | tuple[type[StoreError], ...], str], ...] = (
    (UnknownMember, "see `navctl member list`"),
    (MemberExists, "see `navctl member list`"),
    (MemberNotReady, "see that it runs, and try again later"),
    (ChangeInProgress, "try again in a moment"),
    (QuorumAtRisk, "bring others back, or add and promote some, first"),
    ((Compacted, FutureRevision), "`navctl store status` shows which revisions there are"),
    (StoreRefused, "it takes the administrator's kubeconfig, /etc/navarch/admin.conf"),
    (NothingWritten, "nothing was changed; see `navctl store status`, and try again"),
    (StoreUnavailable, "see `navctl store status`"),
)
