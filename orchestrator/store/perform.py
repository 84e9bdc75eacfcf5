"""What each command does to the state.

Deterministic, like the state: a command that cannot be done has an error for its result, the same on every member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.store.command import Command, Compact, End, Grant, Keep, Remain, Revoke, Txn
from orchestrator.store.errors import LeaseError
from orchestrator.store.interface import Event, TxnResult
from orchestrator.store.state import State

Result = TxnResult | int | LeaseError | None
"""Of a txn; the id of a granted lease or the milliseconds of a kept one; why not; nothing to be told."""


class Performed(NamedTuple):
    result: Result
    events: Sequence[Event] = ()
    """All of one revision."""


def perform(command: Command, state: State) -> Performed:
    try:
        return _perform(command, state)
    except LeaseError as error:
        return Performed(error)


def _perform(command: Command, state: State) -> Performed:
    leases = state.leases
    match command:
        case Txn():
            outcome = state.apply(command.compares, command.operations)
            return Performed(outcome.result, outcome.events)
        case Compact():
            state.compact(command.revision)
        case Grant():
            return Performed(leases.grant(command.ttl).id)
        case Keep():
            return Performed(leases.keep(command.lease).ttl)
        case Revoke():
            return Performed(None, state.end_leases(command.lease))
        case End():
            over = {
                id: None
                for id, renewals in command.leases
                if (lease := leases.find(id)) is not None and lease.renewals == renewals
            }
            return Performed(None, state.end_leases(*over))
        case Remain():
            for id, renewals, remaining in command.leases:
                leases.note(id, renewals, remaining)
    return Performed(None)
