"""When this member stands for election, and whom it would elect.

A candidate first asks whether it would be elected (pre-vote; Ongaro's thesis, section 9.6), which changes nobody's
term, so that a member that comes back does not depose a healthy leader. Nobody elects another within an election's
time of hearing from a leader, nor of its own start, as it does not know what it heard before: leases rely on that. The
one exception is a candidate that the leader itself has asked to take over.

Who may stand is who has a vote in the configuration that is in force here; whose votes count, too. But a member votes
for whoever asks, also for one it does not know yet: it may be the one that lags behind. Only one that is certain to
have been removed is told so instead.

One of a cluster's first members that begins with an empty directory may be one whose disk was lost: it does not know
what it promised. If the others have begun without it, which their logs tell, it elects nobody and does not stand before
it has all that a leader has committed, in that leader's own term: then it has whatever it ever acknowledged.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from orchestrator.clock import Clock
from orchestrator.store.configurations import Configurations
from orchestrator.store.engine import Engine
from orchestrator.store.log import Log
from orchestrator.store.membership import FIRST_INDEX, Configuration, MemberInfo, Timing
from orchestrator.store.quorum import majority
from orchestrator.store.v1.raft_pb2 import Message, Removed, RequestVote, Vote
from orchestrator.store.wire import Wire


class Elections:
    def __init__(
        self,
        member: str,
        log: Log,
        configurations: Configurations,
        *,
        timing: Timing,
        wire: Wire,
        clock: Clock,
        chance: random.Random,
        own: Callable[[Configuration], MemberInfo | None],
        since: Callable[[], int],
        fresh: bool,
        began: Callable[[], None],
    ) -> None:
        """`own`: this member in a configuration; None: it is not in it.

        `fresh`: it has taken part in nothing yet, as far as it knows; `began` is called when it first does, and returns
        when that is durable.
        """
        self._member, self._log, self._configurations = member, log, configurations
        self._timing, self._wire, self._clock, self._chance = timing, wire, clock, chance
        self._own, self._since = own, since
        self._fresh, self._began = fresh, began
        self._round = 0
        self._granted: set[str] = set()
        self._transferring = False
        # Before its first term there was nobody to hear from.
        self._heard = clock.monotonic() if log.term else float("-inf")
        self.stand_at = 0.0
        self.wait()

    def bind(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def may_stand(self) -> bool:
        if self._fresh and self._log.entries[-1][2]:
            return False
        in_force = self._own(self._configurations.latest)
        if in_force is not None:
            return not in_force.learner
        # Its removal is in its log and not committed: it may be the only one that has it, and then nobody else can win
        # (thesis, section 4.2.2). It does not count its own vote.
        committed = self._own(self._configurations.at(self._log.commit))
        return committed is not None and not committed.learner

    def begin(self) -> None:
        """This member takes part from now on, and will know of it."""
        if self._fresh:
            self._began()
            self._fresh = False

    @property
    def fresh(self) -> bool:
        """Whether this member has not taken part in anything yet."""
        return self._fresh

    @property
    def _own_vote(self) -> set[str]:
        return {self._member} & set(self._configurations.latest.voters)

    def wait(self) -> None:
        """Give a leader the time to be heard."""
        now, latest = self._clock.monotonic(), self._configurations.latest
        if latest.voters != [self._member] or not self.may_stand:
            self.stand_at = now + self._timing.election * (1 + self._chance.random())
        elif latest.index <= FIRST_INDEX:
            self.stand_at = now
        else:
            # Others had a vote once: one of them may lead still, and read by its lease.
            self.stand_at = max(now, self._heard + self._timing.election)

    def heard_leader(self) -> None:
        self._heard = self._clock.monotonic()
        self.wait()

    def _faithful(self) -> bool:
        return self._engine.leads or self._clock.monotonic() < self._heard + self._timing.election

    # Standing.

    def ask_around(self) -> None:
        """Ask the others whether they would elect this member; its term does not change by that."""
        self.wait()
        self._engine.forget_leader()
        self._round += 1
        self._granted = set()
        for own in self._own_vote:
            self._grant(own)
        for other in self._configurations.latest.voters:
            if other != self._member:
                question = self._candidacy(considered=True)
                self._wire.send(other, Message(term=self._engine.term + 1, sequence=self._round, request_vote=question))

    def stand(self, *, transferring: bool) -> None:
        """Be a candidate with the next tick."""
        self.begin()
        self._granted = self._own_vote
        self._transferring = transferring
        self._engine.stand()
        self.wait()

    def ask(self, member: str) -> None:
        """Ask this member for its vote in earnest."""
        question = self._candidacy(considered=False)
        self._wire.send(member, Message(term=self._engine.term, request_vote=question))

    def _candidacy(self, *, considered: bool) -> RequestVote:
        _, index, term = self._log.entries[-1]
        return RequestVote(
            last_index=index,
            last_term=term,
            considered=considered,
            transfer=self._transferring and not considered,
            since=self._since(),
        )

    def _grant(self, voter: str) -> None:
        """This voter would elect this member: if that makes a majority, stand."""
        before = len(self._granted)
        self._granted.add(voter)
        if before < len(self._granted) == majority(len(self._configurations.latest.voters)):
            self.stand(transferring=False)

    def heard_vote(self, member: str, message: Message, vote: Vote) -> None:
        """`vote` was granted."""
        if member not in self._configurations.latest.voters or self._engine.leads:
            return
        if vote.considered:
            mine = message.sequence == self._round and message.term == self._engine.term + 1
            if mine and self.may_stand and self._engine.leader is None and not self._faithful():
                self._grant(member)
        elif message.term == self._engine.term and member not in self._granted:
            self._granted.add(member)
            if len(self._granted) >= majority(len(self._configurations.latest.voters)):
                for voter in sorted(self._granted - {self._member}):
                    self._engine.got_vote(voter, message.term)

    # Voting.

    def asked(self, member: str, message: Message, asked: RequestVote) -> None:
        committed = self._configurations.at(self._engine.commit)
        if committed.has_removed(member, asked.since):
            self._say(member, Message(removed=Removed(configuration=committed.index)))
            return
        if self._faithful() and not asked.transfer and message.term > self._engine.term:
            return
        if self._fresh and asked.last_term:
            # They have begun without this member, or it has forgotten it.
            return
        _, index, term = self._log.entries[-1]
        if asked.considered:
            granted = (asked.last_term, asked.last_index) >= (term, index) and message.term > self._engine.term
            answer = Message(sequence=message.sequence, vote=Vote(granted=granted, considered=True))
            answer.term = message.term if granted else self._engine.term
            self._wire.send(member, answer)
        elif message.term < self._engine.term:
            self._say(member, Message(vote=Vote(granted=False)))
        else:
            self._engine.asked_for_vote(member, message.term, asked.last_index, asked.last_term)

    def vote(self, member: str) -> None:
        """The engine has decided to give this member its vote."""
        self.begin()
        self.wait()
        self._say(member, Message(vote=Vote(granted=True)))

    def _say(self, member: str, message: Message) -> None:
        message.term = self._engine.term
        self._wire.send(member, message)
