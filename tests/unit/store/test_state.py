"""The state machine against the plainest model there is: one copied dict for every revision."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store.errors import Compacted, FutureRevision
from orchestrator.store.interface import Compare, Delete, KeyValue, Put
from orchestrator.store.state import EMPTY_REVISION, State

KEYS = ["/a", "/a/1", "/a/2", "/b/1", "/b/2", "/c"]
keys = st.sampled_from(KEYS)
values = st.binary(max_size=4)
operations = st.lists(
    st.builds(Put, keys, values, st.just(0)) | st.builds(Delete, keys),
    max_size=4,
    unique_by=lambda operation: operation.key,
)


@dataclass
class Model:
    """Every revision's whole content."""

    past: dict[int, dict[str, KeyValue]] = field(default_factory=lambda: {EMPTY_REVISION: {}})
    compacted: int = 0

    @property
    def revision(self) -> int:
        return max(self.past)

    def apply(self, compares: list[Compare], ops: list[Put | Delete]) -> tuple[bool, tuple[KeyValue | None, ...]]:
        now = self.past[self.revision]
        failed = []
        for compare in compares:
            there = now.get(compare.key)
            if (there.mod_revision if there else 0) != compare.mod_revision:
                failed.append(there)
        if failed:
            return False, tuple(failed)
        revision = self.revision + 1
        after = dict(now)
        for operation in ops:
            if isinstance(operation, Put):
                before = after.get(operation.key)
                created = before.create_revision if before else revision
                after[operation.key] = KeyValue(operation.key, operation.value, created, revision)
            else:
                after.pop(operation.key, None)
        if after != now:
            self.past[revision] = after
        return True, ()

    def range(self, prefix: str, start_after: str, limit: int, revision: int) -> tuple[list[KeyValue], bool, int]:
        content = self.past[revision]
        everything = [content[key] for key in sorted(content) if key.startswith(prefix)]
        behind = [item for item in everything if item.key > start_after]
        page = behind[:limit] if limit else behind
        return page, len(page) < len(behind), len(everything)


@dataclass
class Do:
    compares: list[Compare]
    operations: list[Put | Delete]


@dataclass
class Forget:
    back: int


@dataclass
class Pin:
    """Pin now, unpin after so many further steps."""

    steps: int


steps = st.lists(
    st.builds(Do, st.lists(st.builds(Compare, keys, st.integers(0, 8)), max_size=1), operations)
    | st.builds(Do, st.just([]), operations)
    | st.builds(Forget, st.integers(0, 6))
    | st.builds(Pin, st.integers(1, 6)),
    max_size=40,
)


def everything_agrees(state: State, model: Model) -> None:
    assert state.revision == model.revision
    assert len(state) == len(model.past[model.revision])
    for revision in range(1, model.revision + 1):
        if revision < model.compacted:
            with pytest.raises(Compacted) as caught:
                state.get("/a", revision)
            assert caught.value.compacted_revision == model.compacted
            continue
        for key in KEYS:
            assert state.get(key, revision) == model.past[revision].get(key)
        for prefix in ("", "/a", "/a/", "/b/", "/none"):
            for start_after in ("", "/a/1", "/b/2", "/zzz"):
                for limit in (0, 1, 2):
                    found = state.range(prefix, start_after=start_after, limit=limit, revision=revision)
                    expected = model.range(prefix, start_after, limit, revision)
                    assert (list(found.items), found.more, found.count) == expected
                    assert found.revision == revision


@given(steps)
@settings(max_examples=150, deadline=None)
def test_every_revision_reads_like_a_copy_made_at_the_time(history: list[Do | Forget | Pin]) -> None:
    state, model = State(), Model()
    pinned: list[tuple[int, int, dict[str, KeyValue]]] = []
    for position, step in enumerate(history):
        match step:
            case Do(compares, ops):
                before = model.past[model.revision]
                outcome = state.apply(compares, ops)
                assert (outcome.result.succeeded, outcome.result.conflicts) == model.apply(compares, ops)
                assert outcome.result.revision == model.revision
                for event in outcome.events:
                    now = model.past[model.revision].get(event.key)
                    assert event.value == (now.value if now else None)
                    assert event.previous == before.get(event.key)
                    assert event.revision == model.revision
            case Forget(back):
                revision = max(0, model.revision - back)
                state.compact(revision)
                model.compacted = max(model.compacted, revision)
            case Pin(count):
                pinned.append((position + count, state.pin(), model.past[model.revision]))
        for until, revision, content in [pin for pin in pinned if pin[0] <= position]:
            read: list[KeyValue] = []
            while page := state.page(read[-1].key if read else "", 2, revision):
                read += page
            assert read == [content[key] for key in sorted(content)]
            state.unpin(revision)
            pinned.remove((until, revision, content))
    everything_agrees(state, model)


@given(steps)
@settings(max_examples=50, deadline=None)
def test_sizes_are_those_of_what_is_kept(history: list[Do | Forget | Pin]) -> None:
    state = State()
    for step in history:
        if isinstance(step, Do):
            state.apply(step.compares, step.operations)
        elif isinstance(step, Forget):
            state.compact(state.revision - step.back)
    assert state.size == sum(len(item.key) + len(item.value) for item in state.range("").items)
    state.compact(state.revision)
    assert state.past_size == 0


def test_a_future_revision_is_refused() -> None:
    with pytest.raises(FutureRevision):
        State().get("/a", EMPTY_REVISION + 1)


def test_compacting_does_not_reach_into_the_future() -> None:
    state = State()
    state.apply([], [Put("/a", b"1")])
    state.compact(1000)
    assert state.compacted == 2
    assert state.get("/a", 2) is not None


def test_deleting_what_is_not_there_takes_no_revision() -> None:
    state = State()
    outcome = state.apply([], [Delete("/a")])
    assert (outcome.result.succeeded, outcome.result.revision, len(outcome.events)) == (True, EMPTY_REVISION, 0)


def test_a_remade_key_is_a_new_one() -> None:
    state = State()
    for operation in (Put("/a", b"1"), Delete("/a"), Put("/a", b"2"), Put("/a", b"3")):
        state.apply([], [operation])
    assert state.get("/a") == KeyValue("/a", b"3", create_revision=4, mod_revision=5)


@pytest.mark.parametrize(("keep", "expected"), [(0, 5), (2, 4), (4, 3), (6, 1), (100, 1)])
def test_the_revision_that_leaves_so_many_bytes(keep: int, expected: int) -> None:
    state = State()
    for value in (b"1", b"2", b"3", b"4"):
        state.apply([], [Put("a", value)])  # each past version has two bytes; they were superseded at 3, 4 and 5
    assert state.past_size == 6
    assert state.revision_leaving(size=keep, events=100) == expected
    state.compact(expected)
    assert state.past_size <= keep


def test_a_page_of_the_past_costs_a_page() -> None:
    """20 pages of 10,000 keys, all of which have changed since: not 20 times the whole prefix."""
    state = State()
    for number in range(10_000):
        state.apply([], [Put(f"/a/{number:05}", b"old")])
    then = state.revision
    for number in range(0, 10_000, 2):
        state.apply([], [Put(f"/a/{number:05}", b"new") if number % 4 else Delete(f"/a/{number:05}")])
    state.apply([], [Put(f"/a/{number:05}x", b"later") for number in range(100)])
    looked = 0
    at = state._at

    def counted(key: str, revision: int) -> KeyValue | None:
        nonlocal looked
        looked += 1
        return at(key, revision)

    state._at = counted  # type: ignore[method-assign]
    seen: list[KeyValue] = []
    more = True
    while more:
        page = state.range("/a/", start_after=seen[-1].key if seen else "", limit=500, revision=then)
        assert page.count == 10_000
        seen += page.items
        more = page.more
    assert [item.key for item in seen] == [f"/a/{number:05}" for number in range(10_000)]
    assert {item.value for item in seen} == {b"old"}
    assert looked < 10_000 + 20 * 110


@pytest.mark.parametrize(("keep", "expected"), [(0, 5), (1, 4), (3, 2), (4, 1), (9, 1)])
def test_the_revision_that_leaves_so_many_events(keep: int, expected: int) -> None:
    state = State()
    for value in (b"1", b"2", b"3", b"4"):
        state.apply([], [Put("a", value)])
    assert state.revision_leaving(size=1000, events=keep) == expected
    state.compact(expected)
    assert len(state.history) <= keep
