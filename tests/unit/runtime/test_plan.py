"""Carrying out plans: what is fine, what means looking again, what is an error, and what is refused from the start."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from orchestrator.api import errors
from orchestrator.api.errors import Cause, Details
from orchestrator.api.kinds import clone
from orchestrator.api.v1 import ConfigMap, ObjectMeta, OwnerReference, Pod, ReplicaSet
from orchestrator.runtime.plan import Applied, ApplyError, Deletion, EventRecord, Plan, Unanswered, apply_plan
from tests.unit.client.fake_api import FakeApi


@dataclass
class Heard:
    events: list[EventRecord] = field(default_factory=list)

    def record(self, event: EventRecord) -> None:
        self.events.append(event)


def pod(name: str, *, resource_version: str = "") -> Pod:
    return Pod(metadata=ObjectMeta(namespace="default", name=name, resource_version=resource_version))


def stored(api: FakeApi, obj: Pod) -> Pod:
    api.put(obj)
    return clone(api.of(Pod)[f"default/{obj.metadata.name}"])


async def test_results_are_revisions_for_each_kind() -> None:
    api = FakeApi(revision=100)
    config = ConfigMap(metadata=ObjectMeta(namespace="default", name="c"))
    applied = await apply_plan(api, Plan(create=[pod("a"), config, pod("b")]))
    assert applied == Applied({Pod: 103, ConfigMap: 102}, (), False)
    assert api.called("batch") == ["3"]


async def test_doing_it_twice_changes_nothing() -> None:
    api = FakeApi()
    doomed = stored(api, pod("doomed"))
    plan = Plan(create=[pod("a")], delete=[Deletion(doomed)])
    first = await apply_plan(api, plan)
    state, revision = dict(api.objects), api.revision
    second = await apply_plan(api, plan)
    assert (api.objects, api.revision) == (state, revision)
    assert first.revisions and not second.revisions
    assert not second.errors and not second.look_again


async def test_an_old_view_means_looking_again() -> None:
    api = FakeApi()
    old = stored(api, pod("a"))
    api.put(old)
    gone = pod("gone", resource_version="5")
    assert (await apply_plan(api, Plan(update=[old]))).look_again
    assert (await apply_plan(api, Plan(update_status=[old]))).look_again
    assert (await apply_plan(api, Plan(update=[gone]))).look_again
    # A new pod of the same name is not the one that was meant.
    meant = clone(old)
    meant.metadata.uid = "of-an-earlier-life"
    applied = await apply_plan(api, Plan(delete=[Deletion(meant)]))
    assert applied.look_again and not applied.errors and "default/a" in api.of(Pod)


async def test_refusals_are_gathered_while_the_rest_is_done() -> None:
    api = FakeApi(allow=lambda obj: errors.Invalid("bad name") if obj.metadata.name == "bad" else None)
    applied = await apply_plan(api, Plan(create=[pod("bad"), pod("good")]))
    assert set(api.of(Pod)) == {"default/good"}
    with pytest.raises(ApplyError, match='create Pod "default/bad": bad name') as raised:
        applied.raise_errors()
    assert [failure.obj.metadata.name for failure in raised.value.failures] == ["bad"]
    assert applied.revisions == {Pod: api.revision}


async def test_a_lost_answer_is_told_apart_from_a_refusal() -> None:
    api = FakeApi(lose_answers=1)
    with pytest.raises(Unanswered, match="the answer was lost"):
        await apply_plan(api, Plan(create=[pod("a")]))
    assert "default/a" in api.of(Pod)


async def test_a_status_goes_on_top_of_the_update_of_the_same_object() -> None:
    api = FakeApi()
    known = stored(api, pod("a"))
    updated, status = clone(known), clone(known)
    updated.metadata.labels["new"] = "yes"
    status.status.phase = "Running"
    applied = await apply_plan(api, Plan(update=[updated], update_status=[status]))
    assert not applied.look_again and not applied.errors
    assert api.called("batch") == ["1", "1"]
    assert api.of(Pod)["default/a"].status.phase == "Running"
    assert applied.revisions == {Pod: api.revision}


async def test_a_status_is_not_written_when_the_update_failed() -> None:
    api = FakeApi()
    old = stored(api, pod("a"))
    api.put(old)
    applied = await apply_plan(api, Plan(update=[old], update_status=[old]))
    assert applied.look_again and api.called("batch") == ["1"]


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(update=[pod("a")]), id="update without a version"),
        pytest.param(Plan(update_status=[pod("a")]), id="status without a version"),
        pytest.param(Plan(delete=[Deletion(pod("a"))]), id="delete without a uid"),
        pytest.param(Plan(create=[pod("b")], delete=[Deletion(pod("a"))]), id="harmful in part"),
        pytest.param(Plan(events=[EventRecord(pod("a"), "Normal", "R", "m")]), id="events without a recorder"),
    ],
)
async def test_a_plan_that_could_do_harm_is_refused_as_a_whole(plan: Plan) -> None:
    api = FakeApi()
    with pytest.raises(ValueError):
        await apply_plan(api, plan)
    assert api.calls == []


async def test_events_are_told_when_what_they_tell_has_happened() -> None:
    owner = ReplicaSet(metadata=ObjectMeta(namespace="default", name="rs", uid="rs-uid"))
    event = EventRecord(owner, "Normal", "SuccessfulCreate", "Created pod: a")
    owned = pod("a")
    owned.metadata.owner_references.append(
        OwnerReference(api_version="apps/v1", kind="ReplicaSet", name="rs", uid="rs-uid", controller=True)
    )
    heard = Heard()
    await apply_plan(FakeApi(), Plan(create=[owned], events=[event]), heard)
    assert heard.events == [event]

    heard = Heard()
    api = FakeApi(allow=lambda obj: errors.Forbidden("exceeded quota"))
    await apply_plan(api, Plan(create=[owned], events=[event]), heard)
    assert [(told.type, told.reason, told.message) for told in heard.events] == [
        ("Warning", "FailedCreate", "Error creating: exceeded quota")
    ]
    assert heard.events[0].obj == owner


async def test_a_status_conflict_takes_no_event_away() -> None:
    api = FakeApi()
    old = stored(api, pod("a"))
    api.put(old)
    heard = Heard()
    event = EventRecord(old, "Normal", "Told", "anyway")
    applied = await apply_plan(api, Plan(create=[pod("b")], update_status=[old], events=[event]), heard)
    assert applied.look_again and heard.events == [event]


async def test_nothing_is_made_in_a_namespace_that_ends_and_nobody_complains() -> None:
    ending = errors.Forbidden("it is being terminated", details=Details(causes=(Cause("NamespaceTerminating", ""),)))
    applied = await apply_plan(FakeApi(allow=lambda obj: ending), Plan(create=[pod("a")]), Heard())
    assert applied == Applied()
