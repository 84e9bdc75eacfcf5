"""Holds the history of a run against what the store promises. Pure: a history goes in, sentences come out.

Two kinds of check look at the same operations. One knows nothing of revisions: for every key, is there an order in
which the operations, one at a time, would have given these results? The other takes the store at its word: it says at
which revision a txn took place and a listing was made, and the watches say what happened at each revision, so

* what was acknowledged happened at its revision, exactly, and at no other: nothing is lost, nothing is done twice;
* what certainly did not take place did not;
* revisions are dense, and follow time: what began after another had returned is not before it;
* a listing, fresh or not, shows what all events up to its revision leave;
* a watch misses nothing of its prefix, repeats nothing, splits no revision;
* in the end all members hold the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.cluster.store.history import LEASED, UNKNOWN, Call, Get, History, Identity, Listing, Stretch, Txn
from tests.unit.store.cluster import linearizability as model
from tests.unit.store.cluster.linearizability import TooHard, is_linearizable


@dataclass(slots=True)
class Timeline:
    """What happened at each revision, as far as any watcher saw it."""

    changes: dict[int, dict[str, Identity]] = field(default_factory=dict)
    covered: list[tuple[int, int]] = field(default_factory=list)
    """Disjoint intervals (after, until], in order, of which every change is known."""

    def knows(self, revision: int) -> bool:
        position = bisect_right(self.covered, (revision, 0)) - 1
        return position >= 0 and self.covered[position][0] < revision <= self.covered[position][1]


def judge(history: History) -> Sequence[str]:
    """All that is wrong with it."""
    found: list[str] = list(history.anomalies)
    timeline = _timeline(history, found)
    found += _values_once(history, timeline)
    found += _acknowledged(history, timeline)
    found += _in_order_of_time(history.calls)
    found += _listings(history, timeline)
    found += _watches(history, timeline)
    found += _never_back(history.calls)
    found += _same_end(history)
    found += _linearizable(history.calls)
    return found


def _timeline(history: History, found: list[str]) -> Timeline:
    timeline = Timeline()
    intervals: list[tuple[int, int]] = []
    for stretches in history.watched:
        for stretch in stretches:
            for change in stretch.changes:
                there = timeline.changes.setdefault(change.revision, {})
                if there.setdefault(change.key, change.value) != change.value:
                    found.append(
                        f"two watches differ at revision {change.revision}: {change.key} became "
                        f"{there[change.key]} and {change.value}"
                    )
            if stretch.prefix == "/" and stretch.until > stretch.after:
                intervals.append((stretch.after, stretch.until))
    for after, until in sorted(intervals):
        if timeline.covered and after <= timeline.covered[-1][1]:
            first, last = timeline.covered[-1]
            timeline.covered[-1] = (first, max(last, until))
        else:
            timeline.covered.append((after, until))
    for after, until in timeline.covered:
        gaps = [revision for revision in range(after + 1, until + 1) if revision not in timeline.changes]
        if gaps:
            found.append(f"nothing happened at the revisions {gaps[:5]}")
    return timeline


def _values_once(history: History, timeline: Timeline) -> Iterator[str]:
    """Every value appears at one revision, and only what somebody wrote and was not told to be unwritten."""
    written = _writers(history.calls)
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for revision, changes in sorted(timeline.changes.items()):
        for key, value in changes.items():
            if value is not None:
                places[key, value].append(revision)
    for (key, value), revisions in places.items():
        call = written.get((key, value))
        if len(revisions) > 1:
            yield f"{key} = {value} was applied at the revisions {revisions}"
        if call is None:
            yield f"{key} = {value} at revision {revisions[0]} was written by nobody"
        elif call.nothing:
            yield f"{key} = {value} is at revision {revisions[0]}, and its writer was told that nothing was written"
        elif isinstance(call.did, Txn) and not call.did.succeeded:
            yield f"{key} = {value} is at revision {revisions[0]}, and its condition did not hold"


def _writers(calls: Sequence[Call]) -> Mapping[tuple[str, str], Call]:
    return {
        (key, value): call
        for call in calls
        if isinstance(call.did, Txn)
        for key, value in call.did.changes
        if value is not None
    }


def _acknowledged(history: History, timeline: Timeline) -> Iterator[str]:
    owners: dict[int, Call] = {}
    for call in history.calls:
        match call.did:
            case Txn(changes, succeeded=True, revision=revision) if revision:
                pass
            case _:
                continue
        puts = {key: value for key, value in changes if value is not None}
        if not puts:
            continue  # it may have had nothing to delete: then the revision is not its own
        other = owners.setdefault(revision, call)
        if other is not call:
            yield f"two writes were acknowledged at revision {revision}: {other.did} and {call.did}"
        if not timeline.knows(revision):
            continue
        there = timeline.changes.get(revision, {})
        if any(there.get(key) != value for key, value in puts.items()) or there.items() - set(changes):
            yield f"acknowledged at revision {revision}: {changes}; what happened there: {there}"


def _in_order_of_time(calls: Sequence[Call]) -> Iterator[str]:
    """No fresh read is older, and no write not newer, than what had returned before it was called."""
    moments: list[tuple[float, bool, Call]] = []
    for call in calls:
        if call.returned == UNKNOWN or call.nothing or _revision(call) == 0:
            continue
        moments += [(call.called, False, call), (call.returned, True, call)]
    newest = 0
    known: dict[int, int] = {}
    for _, is_return, call in sorted(moments, key=lambda moment: moment[:2]):
        revision = _revision(call)
        if not is_return:
            known[id(call)] = newest
            continue
        before = known.pop(id(call))
        own = isinstance(call.did, Txn) and call.did.succeeded and any(value for _, value in call.did.changes)
        if revision < before or (own and revision == before):
            yield f"revision {before} was known before client {call.client} called, on {call.member}: {call.did}"
        newest = max(newest, revision)


def _revision(call: Call) -> int:
    """The revision the store was at when it did this; 0: unknown, or not fresh."""
    match call.did:
        case Listing(revision=revision, serializable=False) | Txn(revision=revision):
            return revision
    return 0


def _listings(history: History, timeline: Timeline) -> Iterator[str]:
    """Replay all that is known, and look at every listing when its revision is reached."""
    listings: defaultdict[int, list[tuple[str, Listing]]] = defaultdict(list)
    for call in history.calls:
        if isinstance(call.did, Listing):
            listings[call.did.revision].append((f"listed by {call.client} on {call.member}", call.did))
    for name, listing in history.final.items():
        listings[listing.revision].append((f"at the end on {name}", listing))
    state: dict[str, tuple[str, int]] | None = {}
    position = 1
    for revision in sorted(listings):
        while state is not None and position < revision:
            position += 1
            if not timeline.knows(position):
                state = None
                break
            for key, value in timeline.changes.get(position, {}).items():
                if value is None:
                    state.pop(key, None)
                else:
                    state[key] = value, position
        position = revision
        for who, listing in listings[revision]:
            there = {item.key: (item.value, item.mod_revision) for item in listing.items}
            if state is None:
                if listing.prefix == "/":
                    state = there
                continue
            expected = {key: item for key, item in state.items() if key.startswith(listing.prefix)}
            if there != expected:
                wrong = sorted(set(there.items()) ^ set(expected.items()))[:4]
                yield f"{listing.prefix} {who} at revision {revision} is not what happened: {wrong}"


def _watches(history: History, timeline: Timeline) -> Iterator[str]:
    for number, stretches in enumerate(history.watched):
        for stretch in stretches:
            yield from (f"watcher {number} of {stretch.prefix}: {wrong}" for wrong in _watch(stretch, timeline))


def _watch(stretch: Stretch, timeline: Timeline) -> Iterator[str]:
    last = stretch.after
    seen: defaultdict[int, dict[str, Identity]] = defaultdict(dict)
    for change in stretch.changes:
        if change.revision < last or change.revision <= stretch.after:
            yield f"an event of revision {change.revision} came after revision {last}"
        if change.key in seen[change.revision]:
            yield f"the event of {change.key} at revision {change.revision} came twice"
        last = max(last, change.revision)
        seen[change.revision][change.key] = change.value
    for revision in range(stretch.after + 1, stretch.until + 1):
        happened = timeline.changes.get(revision, {})
        expected = {key: value for key, value in happened.items() if key.startswith(stretch.prefix)}
        if seen.get(revision, {}) != expected:
            yield f"at revision {revision} it saw {seen.get(revision)}, and what happened is {expected}"


def _never_back(calls: Sequence[Call]) -> Iterator[str]:
    """Reads that need not be fresh, of one client on one run of one member, never go back."""
    newest: dict[tuple[int, str], int] = {}
    for call in sorted(calls, key=lambda call: call.called):
        if isinstance(call.did, Listing) and call.did.serializable:
            before = newest.get((call.client, call.member), 0)
            if call.did.revision < before:
                yield f"{call.client} saw {call.member} go back from revision {before} to {call.did.revision}"
            newest[call.client, call.member] = max(before, call.did.revision)


def _same_end(history: History) -> Iterator[str]:
    if len({(listing.revision, listing.items) for listing in history.final.values()}) > 1:
        ends = {name: (listing.revision, len(listing.items)) for name, listing in history.final.items()}
        yield f"the members ended with different contents: {ends}"


def _linearizable(calls: Sequence[Call]) -> Iterator[str]:
    for key, one in _by_key(calls).items():
        try:
            if not is_linearizable(one):
                yield f"the {len(one)} operations on {key} fit no order"
        except TooHard as error:
            yield f"whether the operations on {key} fit an order could not be decided: {error}"


def _by_key(calls: Sequence[Call]) -> Mapping[str, list[model.Call]]:
    """The history of every key by itself. A txn of several keys is an operation on each."""
    keys = sorted({key for call in calls for key in _keys(call) if not key.startswith(LEASED)})
    histories: dict[str, list[model.Call]] = {key: [] for key in keys}

    def note(key: str, call: Call, did: model.Get | model.Write | model.CompareAndSet) -> None:
        histories[key].append(model.Call(call.client, call.called, call.returned, did))

    for call in calls:
        if call.nothing:
            continue
        match call.did:
            case Get(key, found):
                note(key, call, model.Get(_bytes(found)))
            case Listing(prefix, items, serializable=False):
                there = {item.key: item.value for item in items}
                for key in keys:
                    if key.startswith(prefix):
                        note(key, call, model.Get(_bytes(there.get(key))))
            case Txn(changes, compared, expected, succeeded, _, conflict):
                wanted = dict(changes)
                if compared is not None:
                    found = expected if succeeded else conflict
                    after = wanted.pop(compared, expected)
                    note(compared, call, model.CompareAndSet(_bytes(expected), _bytes(after), _bytes(found)))
                if succeeded:
                    for key in wanted.keys() & histories.keys():
                        value = wanted[key]
                        note(key, call, model.Write(_bytes(value)))
    return histories


def _keys(call: Call) -> Iterator[str]:
    match call.did:
        case Get(key):
            yield key
        case Txn(changes, compared):
            yield from (key for key, _ in changes)
            if compared is not None:
                yield compared


def _bytes(identity: Identity) -> bytes | None:
    return None if identity is None else identity.encode()
