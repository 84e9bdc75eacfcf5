"""The Deployment's decider: templates and their ReplicaSets, revisions, strategies, history, what it tells."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.api.conventions import REVISION, TEMPLATE_HASH
from orchestrator.api.kinds import clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from orchestrator.controllers.deployment import HISTORY, Observed, decide, same_template, split, template_hash
from orchestrator.controllers.rollout import DESIRED, MAXIMUM
from orchestrator.runtime import Plan
from tests.unit.controllers.objects import LABELS, NOW, ago, deployment, pod, replica_set, template
from tests.unit.controllers.world import World

OWNER = deployment()


def owned(name: str, replicas: int = 0, *, revision: int = 1, image: str = "v1", **how: Any) -> ReplicaSet:
    """A ReplicaSet of the Deployment "web", sized for 3 as it is itself."""
    made = replica_set(name, owner=OWNER, replicas=replicas, image=image, **how)
    made.metadata.annotations.update({REVISION: str(revision), DESIRED: "3", MAXIMUM: "4"})
    made.spec.template.CopyFrom(OWNER.spec.template)
    made.spec.template.spec.containers[0].image = image
    made.spec.template.metadata.labels[TEMPLATE_HASH] = name
    return made


def sizes(plan: Plan) -> dict[str, int]:
    return {each.metadata.name: each.spec.replicas for each in plan.update if isinstance(each, ReplicaSet)}


def status(plan: Plan) -> DeploymentStatus:
    (told,) = plan.update_status
    assert isinstance(told, Deployment)
    return told.status


def conditions(found: DeploymentStatus) -> dict[str, tuple[str, str, str]]:
    return {each.type: (each.status, each.reason, each.message) for each in found.conditions}


# Templates


def test_the_hash_is_the_same_everywhere() -> None:
    assert template_hash(template("v1")) == "6mtvdm9lkp"
    assert template_hash(template("v1")) != template_hash(template("v2"))
    assert template_hash(template("v1"), 1) != template_hash(template("v1"))
    several = template("v1", {"a": "1", "b": "2"})
    other = template("v1", {"b": "2", "a": "1"})
    assert template_hash(several) == template_hash(other), "the order of a map means nothing"


def test_templates_are_the_same_but_for_the_hash() -> None:
    one, other = template("v1"), template("v1", {**LABELS, TEMPLATE_HASH: "abc"})
    assert same_template(one, other) and same_template(other, one)
    assert not same_template(one, template("v2"))
    assert not same_template(one, template("v1", {**LABELS, "tier": "front"}))


def test_of_two_with_the_template_the_older_is_the_new_one() -> None:
    older, younger, other = owned("b", age=20), owned("a", age=10), owned("c", image="v0", age=30)
    new, old = split(OWNER, [younger, other, older])
    assert new is older and old == [other, younger]


# Making one


def test_the_first_replica_set() -> None:
    wanted = deployment(replicas=3, min_ready_seconds=7)
    wanted.metadata.annotations.update({"team": "a", "kubectl.kubernetes.io/last-applied-configuration": "{}"})
    plan = decide(Observed(wanted, []), NOW)
    (made,) = plan.create
    assert isinstance(made, ReplicaSet)
    made_hash = template_hash(wanted.spec.template)
    assert made.metadata.name == f"web-{made_hash}"
    assert dict(made.metadata.labels) == {**LABELS, TEMPLATE_HASH: made_hash}
    assert (
        dict(made.spec.selector.match_labels) == dict(made.spec.template.metadata.labels) == dict(made.metadata.labels)
    )
    assert dict(made.metadata.annotations) == {"team": "a", REVISION: "1", DESIRED: "3", MAXIMUM: "4"}
    assert (made.spec.replicas, made.spec.min_ready_seconds) == (3, 7)
    (updated,) = plan.update
    assert updated.metadata.annotations[REVISION] == "1"
    assert [each.message for each in plan.events] == [f"Scaled up replica set {made.metadata.name} from 0 to 3"]
    created = f'Created new replica set "{made.metadata.name}"'
    assert conditions(status(plan))["Progressing"] == ("True", "NewReplicaSetCreated", created)
    assert "pod-template-hash" not in wanted.spec.template.metadata.labels, "what is observed is not changed"


def test_the_second_gets_the_next_revision_and_what_there_is_room_for() -> None:
    plan = decide(Observed(deployment(image="v2"), [owned("a", 3, revision=4)]), NOW)
    (made,) = plan.create
    assert isinstance(made, ReplicaSet)
    assert (made.spec.replicas, made.metadata.annotations[REVISION]) == (1, "5")


def test_a_name_that_is_taken_is_counted_as_a_collision() -> None:
    taken = replica_set(f"web-{template_hash(OWNER.spec.template)}", labels={"app": "other"})
    plan = decide(Observed(OWNER, [taken]), NOW)
    assert not plan.create and not plan.events
    assert status(plan).collision_count == 1
    again = clone(OWNER)
    again.status.CopyFrom(status(plan))
    (made,) = decide(Observed(again, [taken]), NOW).create
    assert made.metadata.name == f"web-{template_hash(OWNER.spec.template, 1)}"


def test_orphans_are_adopted_and_strangers_let_go_first() -> None:
    stranger = owned("stranger", 3)
    stranger.metadata.labels["app"] = "other"
    orphan, foreign = replica_set("orphan"), replica_set("foreign", owner=deployment("another"))
    plan = decide(Observed(deployment(), [stranger, orphan, foreign]), NOW)
    references = {each.metadata.name: [ref.uid for ref in each.metadata.owner_references] for each in plan.update}
    assert references == {"stranger": [], "orphan": [OWNER.metadata.uid]}
    assert not plan.create


def test_one_that_is_being_deleted_only_tells_its_status() -> None:
    leaving = deployment(image="v2")
    leaving.metadata.deletion_timestamp.FromDatetime(NOW)
    plan = decide(Observed(leaving, [owned("a", 3), replica_set("orphan")]), NOW)
    assert not (plan.create or plan.update or plan.delete)
    assert status(plan).replicas == 3


# Revisions


def test_an_old_template_comes_back_with_a_new_revision() -> None:
    back, last = owned("a", 0, revision=1), owned("b", 3, revision=2, image="v2")
    plan = decide(Observed(deployment(image="v1"), [back, last]), NOW)
    first = next(each for each in plan.update if each.metadata.name == "a")
    assert (first.metadata.annotations[REVISION], first.metadata.annotations[HISTORY]) == ("3", "1")
    assert sizes(plan)["a"] == 1
    assert next(each for each in plan.update if each.metadata.name == "web").metadata.annotations[REVISION] == "3"


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "7"), ("1,4", "1,4,7"), (",".join(["1234567"] * 250), ",".join(["1234567"] * 249 + ["7"]))],
    ids=["first", "another", "too long"],
)
def test_the_revision_history_is_bounded(before: str, after: str) -> None:
    back = owned("a", 0, revision=7)
    back.metadata.annotations[HISTORY] = before
    plan = decide(Observed(deployment(), [back, owned("b", 3, revision=8, image="v2")]), NOW)
    assert plan.update[0].metadata.annotations[HISTORY] == after
    assert len(after) <= 2000


def test_annotations_are_handed_down() -> None:
    wanted = deployment()
    wanted.metadata.annotations["team"] = "b"
    wanted.spec.min_ready_seconds = 9
    plan = decide(Observed(wanted, [owned("a", 3)]), NOW)
    handed = next(each for each in plan.update if isinstance(each, ReplicaSet))
    assert handed.metadata.annotations["team"] == "b" and handed.spec.min_ready_seconds == 9


# Steps

V1, V2 = "v1", "v2"
STEPS: list[tuple[str, Deployment, list[ReplicaSet], dict[str, int]]] = [
    ("grow the new one", deployment(image=V2), [owned("a", 3), owned("b", 0, image=V2, revision=2)], {"b": 1}),
    ("cut the old one", deployment(image=V2), [owned("a", 3), owned("b", 1, image=V2, revision=2)], {"a": 2}),
    (
        "wait for the new one",
        deployment(image=V2),
        [owned("a", 3), owned("b", 1, image=V2, revision=2, available=0)],
        {},
    ),
    (
        "wait for what still goes",
        deployment(image=V2),
        [owned("a", 2, pods=3), owned("b", 1, image=V2, revision=2, available=0)],
        {},
    ),
    ("recreate: first all old ones", deployment(image=V2, strategy="Recreate"), [owned("a", 3)], {"a": 0}),
    ("scale the only one", deployment(replicas=5), [owned("a", 3)], {"a": 5}),
    ("scale to nothing", deployment(replicas=0), [owned("a", 3)], {"a": 0}),
    (
        "scale in the middle of an update",
        deployment(replicas=6, image=V2, surge=2),
        [owned("a", 3, age=9), owned("b", 1, image=V2, revision=2)],
        {"a": 6, "b": 2},
    ),
    (
        "scale only when what was cut before is gone",
        deployment(replicas=6, image=V2, surge=2),
        [owned("a", 3, pods=4, age=9), owned("b", 1, image=V2, revision=2)],
        {},
    ),
    ("paused: no step", deployment(image=V2, paused=True), [owned("a", 3), owned("b", 1, image=V2, revision=2)], {}),
    ("paused: scaled", deployment(image=V2, paused=True, replicas=5), [owned("a", 3)], {"a": 5}),
    (
        "paused: from nothing",
        deployment(image=V2, paused=True),
        [owned("a", 0, age=9), owned("c", age=99)],
        {"a": 3},
    ),
    ("paused: nothing to scale", deployment(paused=True), [], {}),
]


@pytest.mark.parametrize(("name", "wanted", "sets", "expected"), STEPS, ids=[each[0] for each in STEPS])
def test_steps(name: str, wanted: Deployment, sets: list[ReplicaSet], expected: dict[str, int]) -> None:
    plan = decide(Observed(wanted, sets), NOW)
    before = {each.metadata.name: each.spec.replicas for each in sets}
    changed = {name: size for name, size in sizes(plan).items() if size != before[name]}
    assert changed == expected
    assert not plan.create
    words = {
        f"Scaled {'up' if size > before[name] else 'down'} replica set {name} from {before[name]} to {size}"
        for name, size in expected.items()
    }
    assert {event.message for event in plan.events} == words


def test_recreate_waits_until_the_last_old_pod_is_gone() -> None:
    wanted = deployment(image="v2", strategy="Recreate")
    old = owned("a", 0)
    assert not decide(Observed(wanted, [old], [pod("p", owner=old, leaving=True)]), NOW).create
    (made,) = decide(Observed(wanted, [old], [pod("p", owner=old, phase="Failed")]), NOW).create
    assert isinstance(made, ReplicaSet) and made.spec.replicas == 3


def test_what_is_no_longer_needed_is_not_rewritten() -> None:
    """Old ReplicaSets without pods stay as they are while others are scaled."""
    history = [owned(f"h{at}", 0, revision=at, image=f"w{at}", age=100 - at) for at in range(1, 6)]
    plan = decide(Observed(deployment(replicas=5), [*history, owned("a", 3, revision=9)]), NOW)
    assert set(sizes(plan)) == {"a"}


@pytest.mark.parametrize("limit", [0, 2, 10])
def test_history_beyond_the_limit_goes_the_earliest_revisions_first(limit: int) -> None:
    history = [owned(f"h{at}", 0, revision=at, image=f"w{at}") for at in (3, 1, 2, 4)]
    wanted = deployment(revision_history_limit=limit)
    plan = decide(Observed(wanted, [*history, owned("a", 3, revision=9)]), NOW)
    kept = {each.metadata.name for each in history} - {each.obj.metadata.name for each in plan.delete}
    assert kept == {0: set(), 2: {"h3", "h4"}, 10: {"h1", "h2", "h3", "h4"}}[limit]


def test_history_stays_until_the_update_is_done_and_with_it_what_has_pods() -> None:
    history = [owned(f"h{at}", 0, revision=at, image=f"w{at}") for at in (1, 2)]
    wanted = deployment(image="v2", revision_history_limit=0)
    plan = decide(Observed(wanted, [*history, owned("a", 3, revision=3), owned("b", 1, image="v2", revision=4)]), NOW)
    assert not plan.delete
    history[0].status.replicas = 1
    history[1].metadata.generation = 2
    paused = deployment(image="v2", revision_history_limit=0, paused=True)
    assert not decide(Observed(paused, [*history, owned("b", 3, image="v2", revision=4)]), NOW).delete


# What it tells


def told(wanted: Deployment, *sets: ReplicaSet) -> DeploymentStatus:
    return status(decide(Observed(wanted, sets), NOW))


def test_the_counts() -> None:
    found = told(
        deployment(replicas=4, image="v2"),
        owned("a", 3, available=2, pods=3),
        owned("b", 2, image="v2", revision=2, available=1, pods=2),
    )
    assert (found.replicas, found.updated_replicas, found.available_replicas, found.unavailable_replicas) == (
        5,
        2,
        3,
        2,
    )
    assert (found.ready_replicas, found.observed_generation) == (3, 1)


MINIMUM = "Deployment has minimum availability."
NO_MINIMUM = "Deployment does not have minimum availability."


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (3, ("True", "MinimumReplicasAvailable", MINIMUM)),
        (2, ("True", "MinimumReplicasAvailable", MINIMUM)),
        (1, ("False", "MinimumReplicasUnavailable", NO_MINIMUM)),
    ],
)
def test_available(available: int, expected: tuple[str, str, str]) -> None:
    found = told(deployment(unavailable=1), owned("a", 3, available=available))
    assert conditions(found)["Available"] == expected


def progressing(
    wanted: Deployment, reason: str, *, since: float, value: str = "True", updated: int = 0, ready: int = 0
) -> Deployment:
    """The Deployment with that condition, set so many seconds ago."""
    moment = to_timestamp(ago(since))
    wanted.status.conditions.append(
        DeploymentCondition(
            type="Progressing", status=value, reason=reason, last_update_time=moment, last_transition_time=moment
        )
    )
    wanted.status.updated_replicas = updated
    wanted.status.replicas = 3
    wanted.status.ready_replicas = wanted.status.available_replicas = ready
    return wanted


def stuck(reason: str, since: float, **how: Any) -> tuple[Deployment, list[ReplicaSet]]:
    """An update whose one new pod does not come up."""
    sets = [owned("a", 3), owned("b", 1, image="v2", revision=2, available=0)]
    wanted = progressing(deployment(image="v2", **how), reason, since=since, updated=1, ready=3)
    wanted.status.replicas = 4
    return wanted, sets


def test_success() -> None:
    found = told(progressing(deployment(), "ReplicaSetUpdated", since=9, updated=3, ready=3), owned("a", 3))
    message = 'ReplicaSet "a" has successfully progressed.'
    assert conditions(found)["Progressing"] == ("True", "NewReplicaSetAvailable", message)


def test_progress_renews_the_deadline() -> None:
    wanted, sets = stuck("ReplicaSetUpdated", since=599)
    sets[1].status.available_replicas = sets[1].status.ready_replicas = 1
    plan = decide(Observed(wanted, sets), NOW)
    (condition,) = (each for each in status(plan).conditions if each.type == "Progressing")
    assert (condition.reason, condition.message) == ("ReplicaSetUpdated", 'ReplicaSet "b" is progressing.')
    assert condition.last_update_time == to_timestamp(NOW)
    assert condition.last_transition_time == to_timestamp(ago(599)), "it was True before"
    assert plan.requeue_after == 600


def test_without_progress_the_deadline_passes() -> None:
    wanted, sets = stuck("ReplicaSetUpdated", since=500)
    plan = decide(Observed(wanted, sets), NOW)
    assert plan.requeue_after == 100
    late = decide(Observed(wanted, sets), NOW + timedelta(seconds=101))
    message = 'ReplicaSet "b" has timed out progressing.'
    assert conditions(status(late))["Progressing"] == ("False", "ProgressDeadlineExceeded", message)
    assert late.requeue_after is None
    wanted.status.CopyFrom(status(late))
    assert not decide(Observed(wanted, sets), NOW + timedelta(seconds=200)).update_status


def test_progress_after_the_deadline_counts() -> None:
    wanted, sets = stuck("ProgressDeadlineExceeded", since=1000)
    sets[1].status.available_replicas = sets[1].status.ready_replicas = 1
    assert conditions(told(wanted, *sets))["Progressing"][:2] == ("True", "ReplicaSetUpdated")


def test_a_finished_update_that_loses_a_pod_is_no_new_update() -> None:
    done = progressing(deployment(), "NewReplicaSetAvailable", since=9999, updated=3, ready=3)
    plan = decide(Observed(done, [owned("a", 3, available=2)]), NOW)
    assert conditions(status(plan))["Progressing"][:2] == ("True", "NewReplicaSetAvailable")
    assert plan.requeue_after is None


def test_the_largest_deadline_is_none() -> None:
    wanted, sets = stuck("ReplicaSetUpdated", since=9999, progress_deadline_seconds=2**31 - 1)
    plan = decide(Observed(wanted, sets), NOW)
    assert "Progressing" not in conditions(status(plan)) and plan.requeue_after is None


PAUSES = [
    ("pausing", True, "ReplicaSetUpdated", ("Unknown", "DeploymentPaused", "Deployment is paused")),
    ("resuming", False, "DeploymentPaused", ("Unknown", "DeploymentResumed", "Deployment is resumed")),
    ("a passed deadline stays", True, "ProgressDeadlineExceeded", ("True", "ProgressDeadlineExceeded", "")),
]


@pytest.mark.parametrize(("name", "paused", "reason", "expected"), PAUSES, ids=[each[0] for each in PAUSES])
def test_pauses(name: str, paused: bool, reason: str, expected: tuple[str, str, str]) -> None:
    wanted, sets = stuck(reason, since=9999, paused=paused)
    assert conditions(told(wanted, *sets))["Progressing"] == expected


def test_the_deadline_does_not_run_during_a_pause() -> None:
    wanted, sets = stuck("DeploymentPaused", since=9999, paused=False)
    plan = decide(Observed(wanted, sets), NOW)
    assert plan.requeue_after == 600


def test_minimal_ready_seconds_hold_an_update() -> None:
    world = World(deployment(replicas=2, surge=1, unavailable=0, min_ready_seconds=30))
    world.settle()
    world.pass_time(31)
    world.settle()
    world.change(image="v2")
    world.settle()
    assert world.images() == ["v1", "v1", "v2"]
    assert world.available() == 2
    for _ in range(3):
        world.pass_time(31)
        world.settle()
    assert world.images() == ["v2", "v2"] and world.deployment.status.available_replicas == 2
