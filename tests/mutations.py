"""Do the tests notice when the protocol is broken? Breaks it in a copy of the tree, one way after the other, and looks.

    python -m tests.mutations [NAME...]

Each mutation replaces a few characters of the store. A simulated schedule, or else a unit test of the store, must fail
for it. Prints a table; exit status 1 when a mutation was not noticed, or does not apply to the code any more.

Of the first half of them these unit tests notice what a short simulation may miss:

    two votes in a term, shorter logs elected      test_protocol, a member votes once a term ...
    acknowledged before it is on the disk          test_protocol, entries are acknowledged when ...
    an acknowledgement for the next leader         test_protocol, an acknowledgement that waited ...
    acknowledgements of an earlier term            test_protocol, an acknowledgement of an earlier term ...
    an earlier term's entries by counting          test_protocol, an earlier term's entry on a majority ...
    repeated messages, what differs stays          test_protocol, a late or repeated message ...
    the place before is not compared               test_protocol, nothing is taken in behind ...
    no pre-vote                                    test_protocol, nobody's term grows ...
    reads ask nobody, leases too long              test_leader_lease, without leases ..., the lease is over before ...
    a lease kept while handing over                test_leader_lease, whoever asks another to take over ...
    a new leader reads too early                   test_pysyncobj_faults, 2
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCHEDULES: Final = 500
UNIT_TESTS: Final = ("protocol", "raft", "reconcile", "changes", "membership", "cluster", "pysyncobj_faults")
_TREE: Final = Path(__file__).resolve().parent.parent
_SIMULATE: Final = """
import logging, sys, tempfile
from pathlib import Path
from tests.unit.store.cluster.schedule import simulate
logging.disable(logging.CRITICAL)
with tempfile.TemporaryDirectory() as directory:
    for seed in range(int(sys.argv[1])):
        try:
            simulate(Path(directory), seed)
        except Exception as error:
            print(f"{seed}|{error}".split(";")[0])
            sys.exit(1)
"""


@dataclass(frozen=True, slots=True)
class Mutation:
    name: str
    file: str
    old: str
    new: str


MUTATIONS: Final = (
    Mutation(
        "a member votes twice in a term",
        "elections.py",
        "            self._engine.asked_for_vote(member, message.term, asked.last_index, asked.last_term)",
        "            self._engine._SyncObj__votedForNodeId = None\n"
        "            self._engine.asked_for_vote(member, message.term, asked.last_index, asked.last_term)",
    ),
    Mutation(
        "a vote is not on the disk when it is given",
        "journal.py",
        "        self._log.vote(term, votedForNodeId)\n        self._flush()",
        "        self._log.vote(term, votedForNodeId)",
    ),
    Mutation(
        "entries are acknowledged before they are on the disk",
        "raft.py",
        "        if match <= self._log.durable_index:\n            self._wire.send(leader, answer)",
        "        if match:\n            self._wire.send(leader, answer)",
    ),
    Mutation(
        "an acknowledgement that waited for the disk goes to the next leader",
        "raft.py",
        "            if message.term == self._engine.term:\n                self._acknowledge(match, member, message)",
        "            message.term = self._engine.term\n"
        "            self._acknowledge(match, self.leader or member, message)",
    ),
    Mutation(
        "acknowledgements of an earlier term count",
        "raft.py",
        "if replication is not None and message.term == self._engine.term and member in replication.peers:\n"
        "                    replication.appended(",
        "if replication is not None and member in replication.peers:\n                    replication.appended(",
    ),
    Mutation(
        "entries of an earlier term are committed by counting",
        "engine.py",
        "        self.doTick(0)",
        "        if self.leads and agreed > self.commit:\n"
        "            self._SyncObj__raftCommitIndex = agreed\n"
        "            self._SyncObj__raftLog.setRaftCommitIndex(agreed)\n"
        "        self.doTick(0)",
    ),
    Mutation(
        "a repeated message takes away what follows it",
        "reconcile.py",
        "    return Accept(0, (), match)",
        "    return Accept(match + 1 if match < last else 0, (), match)",
    ),
    Mutation(
        "what differs from the leader's log stays",
        "reconcile.py",
        "            return Accept(index, offer.entries[position:], match)",
        "            return Accept(0, (), match)",
    ),
    Mutation(
        "the place before the offered entries is not compared",
        "reconcile.py",
        "    if offer.previous_index >= first and log[offer.previous_index - first][2] != offer.previous_term:",
        "    if False:",
    ),
    Mutation(
        "candidates with a shorter log are elected",
        "elections.py",
        "asked.last_index, asked.last_term)\n\n    def vote",
        "1 << 40, 1 << 40)\n\n    def vote",
    ),
    Mutation(
        "no pre-vote: whoever hears nothing stands",
        "elections.py",
        "        for own in self._own_vote:\n            self._grant(own)\n        for other",
        "        self.stand(transferring=False)\n        for other",
    ),
    Mutation(
        "reads ask no majority",
        "replication.py",
        "        fresh = [read for read in self._reads if read.sequence <= confirmed]\n"
        "        self._reads = [read for read in self._reads if read.sequence > confirmed]",
        "        fresh, self._reads = self._reads, []",
    ),
    Mutation(
        "a leader reads by its lease for ever",
        "replication.py",
        "        return now < self._lease_end and not self._lease_given_up",
        "        return not self._lease_given_up",
    ),
    Mutation(
        "a lease counts from the answer, and lasts three elections",
        "replication.py",
        "        self._lease_end = confirmed + LEASE_SHARE * self._timing.election",
        "        self._lease_end = confirmed + 3 * self._timing.election",
    ),
    Mutation(
        "a leader that hands over keeps its lease",
        "raft.py",
        "            replication.give_up_lease()\n",
        "",
    ),
    Mutation(
        "a new leader reads before it has committed an entry of its term",
        "raft.py",
        "            and self.applied_index >= replication.first_index\n",
        "",
    ),
    Mutation(
        "groups of writes are not told apart: one that is proposed twice is applied twice",
        "sessions.py",
        "        if origin.number < session.settled or origin.number in session.applied:\n            return False\n",
        "",
    ),
    Mutation(
        "what was applied is not in a snapshot",
        "driver.py",
        "self._sessions.dump()",
        "()",
    ),
    Mutation(
        "a snapshot is said to be of another term",
        "raft.py",
        "        return Base(self.applied_index, self._log.term_of(self.applied_index))",
        "        return Base(self.applied_index, max(1, self._log.term_of(self.applied_index) - 1))",
    ),
    Mutation(
        "a snapshot is said to cover one entry more",
        "raft.py",
        "        return Base(self.applied_index, self._log.term_of(self.applied_index))",
        "        return Base(min(self.applied_index + 1, self._log.next_index - 1), self._log.term)",
    ),
    Mutation(
        "learners count",
        "replication.py",
        "        self._voters = configuration.voters",
        "        self._voters = [member.name for member in configuration.members]",
    ),
    Mutation(
        "members are changed before a new leader has committed an entry of its term",
        "changes.py",
        "    if seen.configuration.index > seen.commit or seen.first_of_term > seen.commit:",
        "    if seen.configuration.index > seen.commit:",
    ),
    Mutation(
        "several changes of the members at once",
        "changes.py",
        "    if seen.configuration.index > seen.commit or seen.first_of_term > seen.commit:",
        "    if False:",
    ),
    Mutation(
        "a configuration that was dropped stays in force",
        "configurations.py",
        "        while len(self._known) > 1 and self._known[-1].index >= index:\n            self._known.pop()",
        "        pass",
    ),
    Mutation(
        "a follower applies what the leader has committed, wherever its own log goes",
        "raft.py",
        "min(body.commit_index, verdict.match)",
        "min(body.commit_index, self.last_index)",
    ),
    Mutation(
        "half of the members are a majority",
        "quorum.py",
        "    return count // 2 + 1",
        "    return (count + 1) // 2",
    ),
    Mutation(
        "a sole voter whose disk is full goes on in its term, whatever its learners have",
        "raft.py",
        "        if self.leads and not self.is_alone:",
        "        if self.leads and not self.is_sole_voter:",
    ),
    Mutation(
        "a member left alone reads before it leads",
        "replicated.py",
        "        if not (serializable or self._raft.may_read()):",
        "        if not (self._alone or serializable or self._raft.may_read()):",
    ),
    Mutation(
        "a member left alone is sure that what its full disk did not take is nowhere",
        "driver.py",
        "proposed=certain)",
        "proposed=self._alone)",
    ),
    Mutation(
        "whoever is no leader is asked again at once",
        "administration.py",
        " and now >= wish.not_before",
        "",
    ),
    Mutation(
        "the last member left does not wait for the old leader's lease",
        "elections.py",
        "        elif latest.index <= FIRST_INDEX:",
        "        else:",
    ),
)


def main() -> int:
    wanted = sys.argv[1:]
    missed = 0
    for mutation in MUTATIONS:
        if not wanted or mutation.name in wanted:
            found = _noticed_by(mutation)
            missed += found is None
            print(f"{mutation.name:75} {found or 'NOT NOTICED'}", flush=True)
    return 1 if missed else 0


def _noticed_by(mutation: Mutation) -> str | None:
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        for part in ("orchestrator", "tests", "pyproject.toml"):
            source = _TREE / part
            if source.is_dir():
                shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tree / part)
        path = tree / "orchestrator/store" / mutation.file
        text = path.read_text()
        if mutation.old not in text:
            return None
        path.write_text(text.replace(mutation.old, mutation.new))
        return _simulator(tree) or _unit_tests(tree)


def _simulator(tree: Path) -> str | None:
    done = _run(tree, "-c", _SIMULATE, str(SCHEDULES))
    return f"simulator: {done.stdout.strip()[:150] or done.stderr.strip()[-150:]}" if done.returncode else None


def _unit_tests(tree: Path) -> str | None:
    files = [f"tests/unit/store/test_{name}.py" for name in UNIT_TESTS]
    done = _run(
        tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *(each for each in files if (tree / each).exists())
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return f"test: {failed[0].split('::')[-1].split(' - ')[0]}" if failed else None


def _run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


if __name__ == "__main__":
    raise SystemExit(main())
