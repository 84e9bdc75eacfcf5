"""The ReplicaSet's decider: numbers, the order of giving up, adoption, status."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.v1 import Pod, ReplicaSet
from orchestrator.controllers.replicaset import BURST, Observed, decide, deletion_order
from tests.unit.controllers.objects import LABELS, NOW, pod, replica_set

RS = replica_set("web", replicas=3)


def owned(name: str, **how: Any) -> Pod:
    return pod(name, owner=RS, **how)


def wanting(replicas: int, **how: Any) -> ReplicaSet:
    made = replica_set("web", replicas=replicas, **how)
    made.metadata.uid = RS.metadata.uid
    return made


@dataclass(frozen=True)
class Case:
    name: str
    replica_set: ReplicaSet
    pods: Sequence[Pod]
    created: int = 0
    deleted: Sequence[str] = field(default=())


NUMBERS = [
    Case("nothing yet", wanting(3), [], created=3),
    Case("all there", wanting(2), [owned("a"), owned("b")]),
    Case("one short", wanting(3), [owned("a"), owned("b")], created=1),
    Case("unready ones count", wanting(2), [owned("a", ready=False), owned("b", phase="Pending")]),
    Case(
        "finished ones do not count", wanting(2), [owned("a", phase="Failed"), owned("b", phase="Succeeded")], created=2
    ),
    Case("leaving ones do not count", wanting(2), [owned("a", leaving=True), owned("b")], created=1),
    Case("too many", wanting(1), [owned("a"), owned("b", ready=False)], deleted=["b"]),
    Case("none wanted", wanting(0), [owned("a"), owned("b", leaving=True)], deleted=["a"]),
    Case("on its way out: makes none", wanting(3, leaving=True), []),
    Case("on its way out: deletes none", wanting(0, leaving=True), [owned("a")]),
    Case("another's pods are not its own", wanting(1), [pod("x", owner=replica_set("other"))], created=1),
    Case("at most so many in one step", wanting(5000), [], created=BURST),
]


@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: case.name)
def test_numbers(case: Case) -> None:
    plan = decide(Observed(case.replica_set, case.pods), NOW)
    assert len(plan.create) == case.created
    assert [each.obj.metadata.name for each in plan.delete] == list(case.deleted)
    assert [(event.reason, event.message) for event in plan.events] == [
        *(("SuccessfulCreate", f"Created pod: {each.metadata.name}") for each in plan.create),
        *(("SuccessfulDelete", f"Deleted pod: {name}") for name in case.deleted),
    ]


ORDER = [
    (
        "not on a node goes before on a node",
        {"node": "", "phase": "Pending", "ready": False},
        {"phase": "Pending", "ready": False},
    ),
    ("pending before unknown", {"phase": "Pending", "ready": False}, {"phase": "Unknown", "ready": False}),
    ("unknown before running", {"phase": "Unknown", "ready": False}, {"ready": False}),
    ("not ready before ready", {"ready": False, "cost": "100"}, {"cost": "-100"}),
    ("cheap before dear", {"cost": "-1", "ready_for": 9000}, {"ready_for": 1}),
    ("a cost that is no number is none", {"cost": "dear", "ready_for": 1}, {"cost": "1", "ready_for": 1}),
    ("ready for a short time before a long one", {"ready_for": 10, "age": 9000}, {"ready_for": 7200, "age": 100}),
    ("restarted often before seldom", {"restarts": 5, "age": 9000}, {"restarts": 1, "age": 100}),
    ("young before old", {"age": 100}, {"age": 9000}),
]


@pytest.mark.parametrize(("name", "first", "second"), ORDER, ids=[each[0] for each in ORDER])
def test_deletion_order(name: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    one, other = owned("b", **first), owned("a", **second)
    assert deletion_order([other, one]) == [one, other]
    assert deletion_order([one, other]) == [one, other]


def test_crowded_nodes_give_up_first() -> None:
    alone, crowded, beside = owned("a", node="n1"), owned("b", node="n2"), owned("c", node="n2")
    assert deletion_order([alone, crowded, beside]) == [crowded, beside, alone]
    siblings = [pod(name, owner=replica_set("next"), node="n1") for name in ("d", "e")]
    assert deletion_order([alone, crowded, beside], siblings) == [alone, crowded, beside]
    finished = [pod(name, owner=replica_set("next"), node="n1", phase="Failed") for name in ("d", "e")]
    assert deletion_order([alone, crowded, beside], finished) == [crowded, beside, alone]


def test_an_orphan_that_matches_is_adopted_before_anything_else() -> None:
    plan = decide(
        Observed(wanting(3), [pod("orphan"), pod("other", labels={"app": "db"}), pod("left", leaving=True)]), NOW
    )
    (adopted,) = plan.update
    (reference,) = adopted.metadata.owner_references
    assert (adopted.metadata.name, reference.uid, reference.controller) == ("orphan", RS.metadata.uid, True)
    assert reference.block_owner_deletion
    assert not plan.create and not plan.delete


def test_a_pod_that_stopped_matching_is_let_go() -> None:
    stranger = owned("a", labels={"app": "debug"})
    plan = decide(Observed(wanting(3), [stranger, owned("b")]), NOW)
    (released,) = plan.update
    assert released.metadata.name == "a" and not released.metadata.owner_references
    assert stranger.metadata.owner_references, "what is observed is not changed"


def test_one_on_its_way_out_adopts_and_lets_go_of_nothing() -> None:
    plan = decide(Observed(wanting(1, leaving=True), [pod("orphan"), owned("a", labels={"app": "debug"})]), NOW)
    assert not plan.update and not plan.delete and not plan.create


def test_pods_are_made_from_the_template() -> None:
    wanted = wanting(1)
    wanted.spec.template.metadata.labels["tier"] = "front"
    wanted.spec.template.metadata.annotations["note"] = "x"
    wanted.spec.template.metadata.finalizers.append("example.com/hold")
    (made,) = decide(Observed(wanted, []), NOW).create
    assert isinstance(made, Pod)
    assert dict(made.metadata.labels) == {**LABELS, "tier": "front"}
    assert dict(made.metadata.annotations) == {"note": "x"}
    assert made.metadata.finalizers == ["example.com/hold"]
    assert made.metadata.generate_name == "web-" and made.metadata.name.startswith("web-")
    assert made.spec == wanted.spec.template.spec
    assert [each.uid for each in made.metadata.owner_references] == [wanted.metadata.uid]


def test_long_names_are_cut_and_stay_names() -> None:
    for length in (50, 57, 58, 120):
        base = ("a" * 56 + ".-b" + "c" * 100)[:length]
        (made,) = decide(Observed(replica_set(base, replicas=1), []), NOW).create
        name = made.metadata.name
        assert len(name) <= 63 and name.startswith("a" * 50) and ".-" not in name and "--" not in name


def test_the_same_view_gives_the_same_names() -> None:
    seen = Observed(wanting(3), [owned("a")])
    names = [each.metadata.name for each in decide(seen, NOW).create]
    assert names == [each.metadata.name for each in decide(seen, NOW).create]
    later = Observed(seen.replica_set, [*seen.pods, *(owned(name, leaving=True) for name in names)])
    assert not set(names) & {each.metadata.name for each in decide(later, NOW).create}


def test_the_status_counts_active_pods() -> None:
    pods = [
        owned("ready"),
        owned("young", ready_for=4),
        owned("unready", ready=False),
        owned("finished", phase="Failed"),
        owned("leaving", leaving=True),
    ]
    plan = decide(Observed(wanting(3, min_ready_seconds=10), pods), NOW)
    (told,) = plan.update_status
    assert isinstance(told, ReplicaSet)
    status = told.status
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 1)
    assert (status.fully_labeled_replicas, status.terminating_replicas, status.observed_generation) == (3, 1, 1)
    assert plan.requeue_after == 6.0, "when the young one becomes available"


def test_a_status_that_fits_is_not_written() -> None:
    seen = Observed(wanting(1), [owned("a")])
    (told,) = decide(seen, NOW).update_status
    assert isinstance(told, ReplicaSet)
    plan = decide(Observed(told, seen.pods), NOW)
    assert not plan.update_status and plan.requeue_after is None


pods_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "phase": st.sampled_from(["Pending", "Running", "Failed"]),
            "ready": st.booleans(),
            "leaving": st.booleans(),
            "node": st.sampled_from(["", "n1", "n2"]),
            "restarts": st.integers(0, 3),
        }
    ),
    max_size=12,
)


@given(st.integers(0, 12), pods_strategy)
def test_what_is_missing_is_made_and_what_is_too_many_is_cut(replicas: int, how: list[dict[str, Any]]) -> None:
    pods = [owned(f"p{number}", **each) for number, each in enumerate(how)]
    plan = decide(Observed(wanting(replicas), pods), NOW)
    active = [
        each for each in pods if each.status.phase != "Failed" and not each.metadata.HasField("deletion_timestamp")
    ]
    assert len(active) + len(plan.create) - len(plan.delete) == replicas
    assert not (plan.create and plan.delete)
    assert len({each.metadata.name for each in (*pods, *plan.create)}) == len(pods) + len(plan.create)
    lost = {each.obj.metadata.name for each in plan.delete}
    unbound = {pod.metadata.name for pod in active if not pod.spec.node_name}
    assert lost <= unbound or unbound <= lost
