"""What no member that keeps to the protocol would say: a pure look at one message before anything believes it.

Members trust each other. They share the data and the authority's certificates, and Raft is no protocol against
traitors: a member that lies about its log, its vote or its term can depose a leader, keep the others from electing one,
tell one that it was removed, and as a leader replace what was not committed. What is defended is that nonsense, from a
member with a bug, another version or bad memory, stops nobody: a message that cannot be true by itself is dropped, with
a line in the log, and the member goes on. So is one whose numbers are so large that counting on from them would leave
64 bits, and one that contradicts what is committed here.

Of an entry only the kind and the version are looked at here; a proposal, which a leader would put into every log for
good, is read whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from orchestrator.store.command import VERSION, decode_group
from orchestrator.store.configurations import CHANGE, decode_configuration
from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.log import NO_OP
from orchestrator.store.v1.raft_pb2 import AppendEntries, Entry, Message, SnapshotChunk

log = logging.getLogger(__name__)

LARGEST: Final = 1 << 62
"""No honest count of entries, terms or messages gets there."""
SNAPSHOT_LARGEST: Final = 1 << 40
"""Bytes."""
NAME_LARGEST: Final = 255
ADDRESS_LARGEST: Final = 1024
_QUIET_SECONDS: Final = 60.0


class Scrutiny:
    """Looks at every message; says of each member no more than once a minute what is wrong with what it says."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._said: dict[str, float] = {}

    def passes(self, member: str, message: Message, log_end: int) -> bool:
        """`log_end`: the last entry of this member's log where it leads the message's term, else `LARGEST`."""
        why = implausible(message, log_end)
        if why:
            self.refuse(member, why)
        return not why

    def refuse(self, member: str, why: str) -> None:
        """Note that a message was dropped."""
        now = self._now()
        if now >= self._said.get(member, float("-inf")) + _QUIET_SECONDS:
            self._said[member] = now
            log.error("dropping what member %s says, which cannot be: %s", member, why)


def implausible(message: Message, log_end: int) -> str:
    """Why the message cannot be true; empty: nothing speaks against it. `log_end`: see `Scrutiny.passes`."""
    if message.term > LARGEST or message.sequence > LARGEST:
        return f"its term is {message.term}, its number {message.sequence}"
    match message.WhichOneof("body"):
        case "append_entries":
            return _implausible_entries(message.term, message.append_entries)
        case "appended":
            answer = message.appended
            # A leader's log only grows while it leads.
            return f"it has the leader's log up to entry {answer.match_index}" if answer.match_index > log_end else ""
        case "request_vote":
            asked = message.request_vote
            if asked.last_index > LARGEST or asked.last_term >= message.term:
                return (
                    f"its log ends with entry {asked.last_index} of term {asked.last_term} before term {message.term}"
                )
        case "proposal":
            return _implausible_proposal(message.proposal.command)
        case "snapshot_chunk":
            return _implausible_chunk(message.term, message.snapshot_chunk)
        case "member_request":
            request = message.member_request
            if len(request.name) > NAME_LARGEST or len(request.address) > ADDRESS_LARGEST:
                return "it asks for a member with an endless name or address"
    return ""


def _implausible_entries(term: int, body: AppendEntries) -> str:
    if not term:
        return "nobody leads term 0"
    if body.previous_index > LARGEST or body.commit_index > LARGEST or body.since > LARGEST:
        return f"its log has an entry {max(body.previous_index, body.commit_index, body.since)}"
    if body.previous_term > term:
        return f"its log has an entry of term {body.previous_term}, in term {term}"
    last_index, last_term = body.previous_index, body.previous_term
    for entry in body.entries:
        if last_index and entry.index != last_index + 1:
            return f"its entry {entry.index} follows entry {last_index}"
        if not entry.index or entry.index > LARGEST or not last_term <= entry.term <= term:
            return f"its entry {entry.index} is of term {entry.term}, after one of {last_term}, in term {term}"
        if why := _implausible_entry(entry):
            return why
        last_index, last_term = entry.index, entry.term
    return ""


def _implausible_entry(entry: Entry) -> str:
    kind = entry.command[:1]
    if kind == CHANGE:
        try:
            if decode_configuration(entry.command[1:]).index != entry.index:
                return f"its entry {entry.index} is another one's configuration"
        except StoreCorrupt as error:
            return str(error)
    elif kind == b"\x00":
        if not 1 <= int.from_bytes(entry.command[1:2]) <= VERSION:
            return f"its entry {entry.index} is of the unknown version {entry.command[1:2].hex() or 'none'}"
    elif entry.command != NO_OP:
        return f"its entry {entry.index} is of the unknown kind {kind.hex() or 'none'}"
    return ""


def _implausible_proposal(command: bytes) -> str:
    try:
        return "" if decode_group(command).origin is not None else "its proposal is nobody's"
    except StoreCorrupt as error:
        return f"its proposal is none: {error}"


def _implausible_chunk(term: int, chunk: SnapshotChunk) -> str:
    if not 0 < chunk.last_index <= LARGEST or chunk.last_term > term:
        return f"its snapshot is of entry {chunk.last_index}, term {chunk.last_term}, in term {term}"
    if chunk.size > SNAPSHOT_LARGEST or chunk.offset + len(chunk.data) > chunk.size:
        return f"its snapshot of {chunk.size} bytes has {len(chunk.data)} at {chunk.offset}"
    return ""
