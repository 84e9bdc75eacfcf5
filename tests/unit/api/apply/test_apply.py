"""What an apply makes of an object, and who manages what in it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.apply import Applied, Manager, apply, record_update
from orchestrator.api.apply.managers import read
from orchestrator.api.kinds import kind_of
from orchestrator.api.v1 import ConfigMap, ManagedFieldsEntry, Pod, Service

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
CONFIG_MAP = kind_of(ConfigMap).descriptor
POD = kind_of(Pod).descriptor
SERVICE = kind_of(Service).descriptor


def applier(name: str) -> Manager:
    return Manager(name, "Apply", "v1")


def updater(name: str, subresource: str = "") -> Manager:
    return Manager(name, "Update", "v1", subresource)


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "default"}, "data": data}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": list(containers), **spec},
    }


def managers(entries: Sequence[ManagedFieldsEntry]) -> dict[tuple[str, str], set[str]]:
    return {
        (each.manager.name, each.manager.operation): {"/".join(path) for path in each.paths} for each in read(entries)
    }


def first(name: str, config: dict[str, Any], descriptor: Any = CONFIG_MAP) -> Applied:
    return apply(descriptor, None, config, [], applier(name), now=NOW, force=False)


def again(
    name: str, config: dict[str, Any], before: Applied, descriptor: Any = CONFIG_MAP, *, force: bool = False
) -> Applied:
    return apply(descriptor, before.data, config, before.managed, applier(name), now=LATER, force=force)


def test_the_first_apply_makes_the_object_and_manages_what_it_names() -> None:
    made = first("me", config_map(a="1"))
    assert made.data == config_map(a="1")
    assert managers(made.managed) == {("me", "Apply"): {"f:data", "f:data/f:a"}}


def test_what_is_not_named_any_more_goes() -> None:
    made = again("me", config_map(b="2"), first("me", config_map(a="1", b="2")))
    assert made.data["data"] == {"b": "2"}


def test_what_another_manages_too_stays() -> None:
    before = first("me", config_map(a="1"))
    shared = again("you", config_map(a="1"), before)
    made = again("me", config_map(b="2"), shared)
    assert made.data["data"] == {"a": "1", "b": "2"}
    assert managers(made.managed)["you", "Apply"] == {"f:data", "f:data/f:a"}


def test_to_change_what_another_manages_is_a_conflict_that_names_him() -> None:
    before = first("me", config_map(a="1", b="2"))
    with pytest.raises(errors.Conflict, match=r'Apply failed with 1 conflict: conflict with "me": \.data\.a') as caught:
        again("you", config_map(a="3"), before)
    assert [(cause.reason, cause.field) for cause in caught.value.details.causes] == [
        ("FieldManagerConflict", ".data.a")
    ]


def test_all_conflicts_are_named_at_once() -> None:
    before = first("me", config_map(a="1", b="2"))
    with pytest.raises(errors.Conflict, match='Apply failed with 2 conflicts:\nconflicts with "me":'):
        again("you", config_map(a="3", b="4"), before)


def test_force_takes_the_field_over() -> None:
    made = again("you", config_map(a="3"), first("me", config_map(a="1", b="2")), force=True)
    assert made.data["data"] == {"a": "3", "b": "2"}
    assert managers(made.managed)["me", "Apply"] == {"f:data", "f:data/f:b"}


def test_an_update_takes_what_it_changes_and_loses_what_it_removes() -> None:
    before = first("me", config_map(a="1", b="2", c="3"))
    after = config_map(a="9", b="2", d="4")
    entries = record_update(CONFIG_MAP, before.data, after, before.managed, updater("edit"), now=LATER)
    assert managers(entries) == {
        ("me", "Apply"): {"f:data", "f:data/f:b"},
        ("edit", "Update"): {"f:data/f:a", "f:data/f:d"},
    }
    with pytest.raises(errors.Conflict, match=r'conflict with "edit" using v1: \.data\.a'):
        apply(CONFIG_MAP, after, config_map(a="1"), entries, applier("me"), now=LATER, force=False)


def test_an_update_that_changes_nothing_leaves_the_account_alone() -> None:
    before = first("me", config_map(a="1"))
    entries = record_update(CONFIG_MAP, before.data, before.data, before.managed, updater("edit"), now=LATER)
    assert list(entries) == list(before.managed)


def test_what_was_there_before_anybody_kept_account_has_a_manager_of_its_own() -> None:
    with pytest.raises(errors.Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        apply(CONFIG_MAP, config_map(a="1"), config_map(a="2"), [], applier("me"), now=NOW, force=False)


def test_what_the_same_person_applied_from_his_side_is_no_conflict() -> None:
    live = config_map(a="1", b="2")
    entries = record_update(CONFIG_MAP, None, live, [], updater("kubectl-client-side-apply"), now=NOW)
    wanted = config_map(a="5")
    made = apply(
        CONFIG_MAP, live, wanted, entries, applier("kubectl"), now=NOW, force=False, last_applied=config_map(a="1")
    )
    assert made.data["data"] == {"a": "5", "b": "2"}


def test_items_of_lists_are_told_apart_by_their_keys() -> None:
    before = first("me", pod({"name": "a", "image": "x"}, {"name": "b", "image": "y"}), POD)
    sidecar = again("you", pod({"name": "c", "image": "z"}), before, POD)
    assert [each["name"] for each in sidecar.data["spec"]["containers"]] == ["a", "b", "c"]
    made = again("me", pod({"name": "b", "image": "y2"}), sidecar, POD)
    assert made.data["spec"]["containers"] == [{"name": "b", "image": "y2"}, {"name": "c", "image": "z"}]


def test_the_default_of_a_key_is_its_value() -> None:
    port = {"port": 80, "targetPort": 8080}
    live = {"metadata": {"name": "s"}, "spec": {"ports": [{**port, "protocol": "TCP"}]}}
    wanted = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "name": "web"}]}}
    made = apply(SERVICE, live, wanted, [], applier("me"), now=NOW, force=True)
    assert made.data["spec"]["ports"] == [{**port, "protocol": "TCP", "name": "web"}]


def test_two_items_of_the_same_keys_are_refused() -> None:
    with pytest.raises(errors.BadRequest, match="two items"):
        first("me", pod({"name": "a"}, {"name": "a"}), POD)


def test_a_list_without_keys_is_managed_in_one_piece() -> None:
    before = first("me", pod({"name": "a", "command": ["x", "y"]}), POD)
    with pytest.raises(errors.Conflict, match=r'\.spec\.containers\[name="a"\]\.command'):
        again("you", pod({"name": "a", "command": ["x"]}), before, POD)


def test_a_status_is_managed_apart() -> None:
    before = first("me", pod({"name": "a", "image": "x"}), POD)
    after = {**before.data, "status": {"phase": "Running"}}
    entries = record_update(POD, before.data, after, before.managed, updater("agent", "status"), now=LATER)
    assert managers(entries)["agent", "Update"] == {"f:status/f:phase"}
    made = apply(POD, after, pod({"name": "a", "image": "y"}), entries, applier("me"), now=LATER, force=False)
    assert made.data["status"] == {"phase": "Running"}


DATA = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["me", "you"]), DATA), min_size=1, max_size=6))
def test_after_a_forced_apply_the_object_is_as_its_managers_say(steps: list[tuple[str, dict[str, str]]]) -> None:
    state: Applied | None = None
    wanted: dict[str, dict[str, str]] = {}
    for name, data in steps:
        config = config_map(**data)
        state = first(name, config) if state is None else again(name, config, state, force=True)
        wanted[name] = data
        for other in wanted:
            if other != name:
                # What was taken over by another value, or given up, is the other's no longer.
                wanted[other] = {key: value for key, value in wanted[other].items() if data.get(key, value) == value}
        assert state.data.get("data", {}) == {key: value for each in wanted.values() for key, value in each.items()}
        same = again(name, config, state)
        assert (same.data, list(same.managed)) == (state.data, list(state.managed))
