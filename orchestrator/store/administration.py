"""Who the members are, and changing them: asked on any member, done by the leader.

A caller's wish is passed to the leader once; a leader that is lost before it answers leaves the fate of a change
unknown, and the caller is told so, while a mere question is asked again. The leader decides (`changes`), appends the
new configuration, and answers when it is committed. It looks at its work right behind each tick of the engine: only
there may it append.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator.store.changes import Add, Change, Move, Promote, Remove, Seen, decide
from orchestrator.store.errors import (
    ChangeInProgress,
    MemberExists,
    MemberNotReady,
    MembershipError,
    NothingWritten,
    QuorumAtRisk,
    StoreError,
    StoreUnavailable,
    UnknownMember,
)
from orchestrator.store.membership import MemberList, MemberStatus, Timing
from orchestrator.store.raft import Raft
from orchestrator.store.v1.raft_pb2 import MemberReply, MemberRequest, MemberState, Message

_ERRORS: Final[dict[str, type[StoreError]]] = {
    error.__name__: error
    for error in (
        ChangeInProgress,
        MemberExists,
        MemberNotReady,
        MembershipError,
        NothingWritten,
        QuorumAtRisk,
        StoreUnavailable,
        UnknownMember,
    )
}
_NOT_LEADER: Final = "NotLeader"
_UNKNOWN: Final = "whether the members were changed is unknown: the list of members tells"

Kind: TypeAlias = "MemberRequest.Kind.ValueType"


@dataclass(slots=True)
class _Wish:
    """What a caller on this member wants."""

    request: MemberRequest
    done: asyncio.Future[MemberList]
    give_up: float
    sent_to: object = None
    """The leader, with its term, that was asked."""
    ask_again: float = float("inf")
    """When a question counts as lost. A change is never asked for twice."""
    not_before: float = float("-inf")
    """Whoever was taken for the leader says it is none: until then this member may not have heard of another."""


@dataclass(slots=True)
class _Work:
    """What this member does as the leader."""

    request: MemberRequest
    answer: Callable[[MemberReply], None]
    term: int
    give_up: float
    index: int = 0
    """Of the configuration that was appended."""
    target: str = ""
    """Who is to take over the lead."""


class Administration:
    def __init__(
        self,
        raft: Raft,
        timing: Timing,
        *,
        now: Callable[[], float],
        wake: Callable[[], None],
        connected: Callable[[str], bool],
        fresh: Callable[[], asyncio.Future[None]],
        cluster: Callable[[], str],
        first_id: int,
    ) -> None:
        """`fresh` is done when this member has applied all that was committed before the call. Wishes are numbered from
        `first_id` on, another one in every run of the process."""
        self._raft, self._timing = raft, timing
        self._now, self._wake, self._connected, self._fresh, self._cluster = now, wake, connected, fresh, cluster
        self._ids = itertools.count(first_id)
        self._wishes: dict[int, _Wish] = {}
        self._works: list[_Work] = []

    def __bool__(self) -> bool:
        return bool(self._wishes or self._works)

    # For callers on this member.

    def ask(self, kind: Kind, name: str = "", address: str = "") -> asyncio.Future[MemberList]:
        """Raises MembershipError, StoreUnavailable."""
        request = MemberRequest(id=next(self._ids), kind=kind, name=name, address=address)
        wish = _Wish(request, asyncio.get_running_loop().create_future(), self._now() + self._timing.patience)
        self._wishes[request.id] = wish
        self._wake()
        return wish.done

    def listing(self) -> MemberList:
        """The members as far as this one knows; only a leader knows how far they are."""
        peers = self._raft.replication.peers if self._raft.replication is not None else {}
        reachable_since = self._now() - self._timing.election
        members: list[MemberStatus] = []
        for member in self._raft.configuration.members:
            if member.name == self._raft.member:
                match, reachable = self._raft.last_index, True
            elif (peer := peers.get(member.name)) is not None:
                match, reachable = peer.match, peer.answered > 0 and peer.heard > reachable_since
            else:
                match, reachable = 0, self._connected(member.name)
            leads = member.name == self._raft.leader
            members.append(MemberStatus(member.name, member.address, member.learner, leads, match, reachable))
        return MemberList(self._cluster(), members)

    def fail(self, reason: str) -> None:
        """This member has stopped for good."""
        for wish in list(self._wishes.values()):
            if wish.sent_to is None or wish.request.kind == MemberRequest.LIST:
                self._end(wish, NothingWritten(f"{reason}; nothing was changed"))
            else:
                self._end(wish, StoreUnavailable(f"{reason}; {_UNKNOWN}"))
        self._works.clear()

    def replied(self, reply: MemberReply) -> None:
        wish = self._wishes.get(reply.id)
        if wish is None:
            return
        if reply.error == _NOT_LEADER:
            # It has done nothing: whoever leads now is asked.
            wish.sent_to = None
            wish.not_before = self._now() + self._timing.heartbeat
        elif reply.error:
            self._end(wish, _ERRORS.get(reply.error, StoreUnavailable)(reply.text))
        else:
            members = [
                MemberStatus(each.name, each.address, each.learner, each.leader, each.match_index, each.reachable)
                for each in reply.members
            ]
            self._end(wish, MemberList(self._cluster(), members))

    def _end(self, wish: _Wish, outcome: MemberList | StoreError) -> None:
        self._wishes.pop(wish.request.id, None)
        if wish.done.done():
            return
        if isinstance(outcome, MemberList):
            wish.done.set_result(outcome)
        else:
            wish.done.set_exception(outcome)

    # Turns.

    def turn(self, *, ticked: bool) -> None:
        """Look after everything; where the engine has just ticked, configurations may be appended."""
        if not self:
            return
        now = self._now()
        self._look_after_wishes(now)
        for work in list(self._works):
            if self._go_on(work, now, ticked):
                self._works.remove(work)

    def _look_after_wishes(self, now: float) -> None:
        leader = self._raft.leader
        whom = (leader, self._raft.term)
        for wish in list(self._wishes.values()):
            if wish.done.done():
                del self._wishes[wish.request.id]
                continue
            if now >= wish.ask_again:
                wish.sent_to = None
            if wish.sent_to not in (None, whom) and leader is not None:
                if wish.request.kind == MemberRequest.LIST:
                    wish.sent_to = None
                elif wish.request.kind != MemberRequest.TRANSFER:
                    self._end(wish, StoreUnavailable(f"the leader has changed; {_UNKNOWN}"))
            if now >= wish.give_up:
                if wish.sent_to is None:
                    self._end(wish, NothingWritten("there is no leader: nothing was changed"))
                else:
                    self._end(wish, StoreUnavailable(f"the leader has not answered; {_UNKNOWN}"))
            elif wish.sent_to is None and leader is not None and now >= wish.not_before:
                wish.sent_to = whom
                if wish.request.kind == MemberRequest.LIST:
                    wish.ask_again = now + self._timing.election
                if self._raft.leads:
                    self.requested(wish.request, self.replied)
                else:
                    self._raft.say(leader, Message(member_request=wish.request))

    # For the leader.

    def requested(self, request: MemberRequest, answer: Callable[[MemberReply], None]) -> None:
        """Somebody takes this member for the leader."""
        if not self._raft.leads or self._raft.removed:
            answer(MemberReply(id=request.id, error=_NOT_LEADER))
        elif request.kind == MemberRequest.LIST:
            self._fresh().add_done_callback(lambda fresh: self._list(request, answer, fresh))
        else:
            self._works.append(_Work(request, answer, self._raft.term, self._now() + self._timing.patience))
        self._wake()

    def _list(self, request: MemberRequest, answer: Callable[[MemberReply], None], fresh: asyncio.Future[None]) -> None:
        if fresh.cancelled() or fresh.exception() is not None or not self._raft.leads:
            answer(MemberReply(id=request.id, error=_NOT_LEADER))
        else:
            answer(self._members(request))

    def _members(self, request: MemberRequest) -> MemberReply:
        states = [
            MemberState(
                name=each.name,
                address=each.address,
                learner=each.learner,
                leader=each.leader,
                match_index=each.match_index,
                reachable=each.reachable,
            )
            for each in self.listing().members
        ]
        return MemberReply(id=request.id, members=states)

    def _go_on(self, work: _Work, now: float, ticked: bool) -> bool:
        """Whether the work is done, one way or the other."""
        try:
            reply = self._work(work, now, ticked)
        except StoreError as error:
            reply = MemberReply(id=work.request.id, error=type(error).__name__, text=str(error))
        if reply is not None:
            work.answer(reply)
        return reply is not None

    def _work(self, work: _Work, now: float, ticked: bool) -> MemberReply | None:
        """None: it goes on. Raises MembershipError, StoreUnavailable."""
        if work.target:
            return self._handing_over(work, now)
        if not self._raft.leads or self._raft.term != work.term:
            if work.index:
                raise StoreUnavailable(f"the leader has lost the lead; {_UNKNOWN}")
            return MemberReply(id=work.request.id, error=_NOT_LEADER)
        if work.index:
            if self._raft.applied_index >= work.index:
                return self._members(work.request)
            if now >= work.give_up:
                raise StoreUnavailable(f"no majority has answered; {_UNKNOWN}")
            return None
        seen = self._seen(now)
        if seen.first_of_term > seen.commit and now < work.give_up:
            # It has just been elected.
            return None
        if work.request.kind == MemberRequest.TRANSFER:
            self._hand_over(work, seen)
            return None
        if ticked:
            work.index = self._raft.change(decide(_change(work.request), seen))
        return None

    def _seen(self, now: float) -> Seen:
        raft, replication = self._raft, self._raft.replication
        assert replication is not None
        matches = {
            peer.name: peer.match
            for peer in replication.peers.values()
            if peer.answered and peer.heard > now - self._timing.election
        }
        return Seen(
            leader=raft.member,
            configuration=raft.configuration,
            next_index=raft.last_index + 1,
            commit=raft.commit,
            first_of_term=replication.first_index,
            matches=matches,
            fresh=frozenset(peer.name for peer in replication.peers.values() if peer.fresh),
        )

    # Handing over.

    def _hand_over(self, work: _Work, seen: Seen) -> None:
        name = work.request.name
        voters = seen.configuration.voters
        if name and seen.configuration.find(name) is None:
            raise UnknownMember(f"there is no member {name}")
        if name and name not in voters:
            raise MemberNotReady(f"{name} has no vote yet")
        if not name:
            others = [voter for voter in voters if voter != seen.leader]
            name = max(others, key=lambda voter: seen.matches.get(voter, -1), default="")
        if not name:
            raise MemberNotReady("there is no other member with a vote that could take over")
        if name != seen.leader and name not in seen.matches:
            raise MemberNotReady(f"{name} cannot be reached")
        work.target = name
        work.give_up = min(work.give_up, self._now() + 4 * self._timing.election)
        if name != seen.leader:
            self._raft.hand_over(name)

    def _handing_over(self, work: _Work, now: float) -> MemberReply | None:
        if self._raft.leader == work.target:
            return self._members(work.request)
        if now >= work.give_up:
            raise MemberNotReady(f"{work.target} did not take over in time")
        return None


def _change(request: MemberRequest) -> Change:
    """Raises MembershipError."""
    if not 0 < len(request.name.encode()) <= 200:
        raise MembershipError("a member's name has 1 to 200 bytes")
    match request.kind:
        case MemberRequest.ADD:
            return Add(request.name, request.address)
        case MemberRequest.PROMOTE:
            return Promote(request.name)
        case MemberRequest.REMOVE:
            return Remove(request.name)
        case MemberRequest.MOVE:
            return Move(request.name, request.address)
        case kind:
            raise MembershipError(f"this member knows no change of the kind {kind}")
