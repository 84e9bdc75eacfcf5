"""The garbage collector: what is decided about an object with owners, and what its caches say of an owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.v1 import ConfigMap, Node, ObjectMeta, OwnerReference, Pod
from orchestrator.client import Client, Informer
from orchestrator.clock import FakeClock
from orchestrator.controllers.garbage_collector import FOREGROUND, ORPHAN, GarbageCollector, Observed, Owner, decide
from orchestrator.controllers.informers import Informers
from orchestrator.runtime import Plan
from tests.unit.controllers.objects import NOW, metadata

PRESENT, WAITING, GONE, UNKNOWN = Owner.PRESENT, Owner.WAITING, Owner.GONE, Owner.UNKNOWN


def thing(
    name: str,
    *owners: str,
    finalizers: Sequence[str] = (),
    leaving: bool = False,
    blocks: bool = True,
    version: int = 5,
) -> ConfigMap:
    made = ConfigMap(metadata=metadata(name))
    made.metadata.resource_version = str(version)
    made.metadata.finalizers.extend(finalizers)
    for owner in owners:
        made.metadata.owner_references.append(
            OwnerReference(
                api_version="v1", kind="ConfigMap", name=owner, uid=f"uid-{owner}", block_owner_deletion=blocks
            )
        )
    if leaving:
        made.metadata.deletion_timestamp.FromDatetime(NOW)
    return made


OWNED: list[tuple[str, Mapping[str, Owner], bool, str]] = [
    ("its owner is there", {"a": PRESENT}, False, "stays"),
    ("its owner is gone", {"a": GONE}, False, "goes as its finalizers say"),
    ("all owners are gone", {"a": GONE, "b": GONE}, False, "goes as its finalizers say"),
    ("one owner is left", {"a": GONE, "b": PRESENT}, False, "loses a"),
    ("one owner waits, another is left", {"a": WAITING, "b": PRESENT}, False, "loses a"),
    ("its owner waits for it", {"a": WAITING}, False, "goes as its finalizers say"),
    ("its owner waits and it has dependents", {"a": WAITING}, True, "goes in the foreground"),
    ("gone with dependents", {"a": GONE}, True, "goes as its finalizers say"),
    ("nobody can tell", {"a": UNKNOWN}, False, "is looked at again"),
    ("nobody can tell of one", {"a": GONE, "b": UNKNOWN}, False, "is looked at again"),
    ("it has no owner", {}, False, "stays"),
]


@pytest.mark.parametrize(("name", "owners", "dependents", "expected"), OWNED, ids=[each[0] for each in OWNED])
def test_owned(name: str, owners: Mapping[str, Owner], dependents: bool, expected: str) -> None:
    seen = Observed(
        thing("x", *owners),
        {f"uid-{name}": state for name, state in owners.items()},
        [thing("d")] if dependents else [],
    )
    assert in_words(decide(seen, NOW)) == expected


def in_words(plan: Plan) -> str:
    match (plan.update, plan.delete):
        case ([changed], ()):
            left = {owner.name for owner in changed.metadata.owner_references}
            return f"loses {', '.join(sorted({'a', 'b'} - left))}"
        case ((), [deletion]):
            return "goes in the foreground" if deletion.propagation == "Foreground" else "goes as its finalizers say"
    assert not plan.update and not plan.delete
    return "is looked at again" if plan.requeue_after else "stays"


def test_foreground_waits_for_those_that_block() -> None:
    leaving = thing("x", finalizers=["other", FOREGROUND], leaving=True)
    assert decide(Observed(leaving, {}, [thing("d", "x")]), NOW) == Plan()
    for dependents in ([], [thing("d", "x", blocks=False)]):
        (released,) = decide(Observed(leaving, {}, dependents), NOW).update
        assert released.metadata.finalizers == ["other"]


def test_orphans_are_let_go_before_the_finalizer() -> None:
    leaving = thing("x", finalizers=[ORPHAN], leaving=True)
    plan = decide(Observed(leaving, {}, [thing("d", "x", "y"), thing("e", "x")]), NOW)
    owners = {each.metadata.name: [ref.name for ref in each.metadata.owner_references] for each in plan.update}
    assert owners == {"d": ["y"], "e": []}
    (released,) = decide(Observed(leaving, {}, []), NOW).update
    assert not released.metadata.finalizers


def test_one_that_leaves_already_is_left_alone() -> None:
    leaving = thing("x", "a", finalizers=["somebody's"], leaving=True)
    assert decide(Observed(leaving, {"uid-a": GONE}, []), NOW) == Plan()


# What the caches say


class Caches:
    """A collector whose caches are filled by hand."""

    def __init__(self) -> None:
        informers = Informers(cast(Client, None), FakeClock(NOW))
        self.collector = GarbageCollector(informers)
        self._informers = informers

    def put(self, obj: KubeObject) -> None:
        self._of(obj)._cache.put(obj)

    def remove(self, obj: KubeObject) -> set[str]:
        """Returns the keys that this wakes."""
        informer = self._of(obj)
        later = clone(obj)
        later.metadata.resource_version = str(int(obj.metadata.resource_version) + 1)
        informer._cache.remove(later)
        return set(self.collector.keys(informer, obj))

    def reach(self, kind: type[KubeObject], revision: int) -> None:
        self._informers.of(kind)._revision = revision

    def state(self, obj: KubeObject) -> list[Owner]:
        self.put(obj)
        seen = self.collector.observe(f"configmaps/{obj.metadata.namespace}/{obj.metadata.name}")
        assert seen is not None
        return [seen.owners[owner.uid] for owner in obj.metadata.owner_references]

    def _of(self, obj: KubeObject) -> Informer[Any]:
        return self._informers.of(type(obj))


def test_an_owner_is_gone_only_when_the_cache_is_far_enough() -> None:
    caches = Caches()
    dependent = thing("x", "a", version=50)
    caches.reach(ConfigMap, 49)
    assert caches.state(dependent) == [UNKNOWN]
    caches.reach(ConfigMap, 50)
    assert caches.state(dependent) == [GONE]


def test_an_owner_whose_end_was_seen_is_gone_at_once() -> None:
    caches = Caches()
    owner = thing("a", version=40)
    caches.put(owner)
    assert caches.state(thing("x", "a", version=90)) == [PRESENT]
    assert caches.remove(owner) == {"configmaps/default/x"}
    assert caches.state(thing("x", "a", version=91)) == [GONE]


def test_another_of_the_same_name_is_not_the_owner() -> None:
    caches = Caches()
    caches.reach(ConfigMap, 100)
    namesake = thing("a", version=60)
    namesake.metadata.uid = "another"
    caches.put(namesake)
    assert caches.state(thing("x", "a", version=90)) == [GONE]


def test_an_owner_in_foreground_deletion_waits() -> None:
    caches = Caches()
    caches.put(thing("a", finalizers=[FOREGROUND], leaving=True))
    assert caches.state(thing("x", "a")) == [WAITING]
    caches.put(thing("a", finalizers=[ORPHAN], leaving=True, version=6))
    assert caches.state(thing("x", "a", version=7)) == [PRESENT]


def test_owners_nothing_is_known_of_count_as_present() -> None:
    caches = Caches()
    caches.reach(ConfigMap, 100)
    strange = thing("x", version=9)
    strange.metadata.owner_references.append(
        OwnerReference(api_version="example.com/v1", kind="Widget", name="w", uid="uid-w")
    )
    assert caches.state(strange) == [PRESENT]
    node = Node(metadata=ObjectMeta(name="n", uid="uid-n", resource_version="9"))
    node.metadata.owner_references.append(OwnerReference(api_version="v1", kind="ConfigMap", name="a", uid="uid-a"))
    caches.put(node)
    seen = caches.collector.observe("nodes//n")
    assert seen is not None and seen.owners == {"uid-a": PRESENT}


def test_a_cluster_wide_owner_is_found_from_a_namespace() -> None:
    caches = Caches()
    caches.put(Node(metadata=ObjectMeta(name="n1", uid="uid-n1", resource_version="3")))
    dependent = thing("x")
    dependent.metadata.owner_references.append(OwnerReference(api_version="v1", kind="Node", name="n1", uid="uid-n1"))
    assert caches.state(dependent) == [PRESENT]


def test_dependents_of_a_leaving_owner_are_woken_and_wake_it() -> None:
    caches = Caches()
    owner = thing("a", finalizers=[FOREGROUND], leaving=True)
    dependent = thing("x", "a")
    caches.put(owner)
    caches.put(dependent)
    informer = next(each for each in caches.collector.informers() if each.kind is ConfigMap)
    assert set(caches.collector.keys(informer, owner)) == {"configmaps/default/a", "configmaps/default/x"}
    assert caches.remove(dependent) == {"configmaps/default/x", "configmaps/default/a"}
    pods = next(each for each in caches.collector.informers() if each.kind is Pod)
    lonely = Pod(metadata=metadata("p"))
    pods._cache.put(lonely)
    assert set(caches.collector.keys(pods, lonely)) == set()
