"""What apply sends: the manifest gets its way, and what others set stays."""

from __future__ import annotations

import copy
from typing import Any

from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings

from orchestrator.api.encoding import encode
from orchestrator.api.errors import BadRequest
from orchestrator.api.patch import strategic_merge_patch, three_way_patch
from orchestrator.api.v1 import Deployment, ObjectMeta, PodSpec, Service
from tests.unit.api.schema_strategies import messages


def apply(message: Any, original: Any, modified: Any, current: Any) -> Any:
    """The live object after `modified` was applied; applying it once more must change nothing."""
    before = copy.deepcopy((original, modified, current))
    after = strategic_merge_patch(message, current, three_way_patch(message, original, modified, current))
    assert (original, modified, current) == before
    assert three_way_patch(message, modified, modified, after) == {}
    return after


def test_nothing_to_do() -> None:
    manifest = {"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
    live = {
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "selector": {"a": "b"}, "clusterIP": "x"}
    }
    assert three_way_patch(Service, manifest, manifest, live) == {}


def test_what_others_set_stays_and_what_left_the_manifest_goes() -> None:
    original = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 3, "paused": True}}
    modified = {"metadata": {"labels": {"a": "1", "c": "3"}}, "spec": {"paused": True}}
    current = {
        "metadata": {"labels": {"a": "9", "b": "2", "x": "y"}, "uid": "u"},
        "spec": {"replicas": 5, "paused": False},
    }
    assert apply(Deployment, original, modified, current) == {
        "metadata": {"labels": {"a": "1", "c": "3", "x": "y"}, "uid": "u"},
        "spec": {"paused": True},
    }


def test_items_are_added_changed_and_removed_by_their_keys() -> None:
    original = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}
    modified = {"containers": [{"name": "c"}, {"name": "a", "image": "2"}]}
    current = {"containers": [{"name": "injected"}, {"name": "a", "image": "1", "tty": True}, {"name": "b"}]}
    assert apply(PodSpec, original, modified, current) == {
        "containers": [{"name": "injected"}, {"name": "c"}, {"name": "a", "image": "2", "tty": True}]
    }


def test_the_order_of_items_follows_the_manifest() -> None:
    current = {"containers": [{"name": "a"}, {"name": "b"}]}
    wanted = {"containers": [{"name": "b"}, {"name": "a"}]}
    assert apply(PodSpec, {}, wanted, current) == wanted


def test_another_volume_source_takes_the_place_of_the_old_one() -> None:
    original = {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}
    modified = {"volumes": [{"name": "v", "emptyDir": {}}]}
    current = {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 420}}]}
    assert apply(PodSpec, original, modified, current) == modified


def test_defaults_of_the_old_strategy_go_with_it() -> None:
    original: dict[str, object] = {"spec": {}}
    modified = {"spec": {"strategy": {"type": "Recreate"}}}
    current = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}}
    assert apply(Deployment, original, modified, current) == modified


def test_a_port_over_two_protocols() -> None:
    dns = [{"port": 53, "protocol": "TCP", "name": "t"}, {"port": 53, "protocol": "UDP", "name": "u"}]
    live = [{**dns[0], "targetPort": 53}, {**dns[1], "targetPort": 53}]
    assert three_way_patch(Service, {"spec": {"ports": dns}}, {"spec": {"ports": dns}}, {"spec": {"ports": live}}) == {}
    changed = [dns[0], {**dns[1], "name": "v"}]
    assert apply(Service, {"spec": {"ports": dns}}, {"spec": {"ports": changed}}, {"spec": {"ports": live}}) == {
        "spec": {"ports": changed}
    }


def test_equal_quantities_are_no_change() -> None:
    manifest = {"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 1}}}
    live = {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}}
    wrap = {"containers": [{"name": "a", **manifest}]}, {"containers": [{"name": "a", **live}]}
    assert three_way_patch(PodSpec, wrap[0], wrap[0], wrap[1]) == {}
    assert three_way_patch(ObjectMeta, {}, {"labels": {"a": "1000m"}}, {"labels": {"a": "1"}}) != {}


def test_finalizers_are_a_set() -> None:
    result = apply(ObjectMeta, {"finalizers": ["a", "b"]}, {"finalizers": ["b", "c"]}, {"finalizers": ["a", "x", "b"]})
    assert result == {"finalizers": ["x", "b", "c"]}


def test_null_in_a_manifest_removes() -> None:
    assert apply(PodSpec, {}, {"nodeName": None}, {"nodeName": "n1"}) == {}
    assert three_way_patch(PodSpec, {}, {"nodeName": None}, {}) == {}


def _without_duplicates(data: Any) -> Any:
    """Lists as validation would let them through: at most one item, so keys are unique."""
    if isinstance(data, dict):
        return {key: _without_duplicates(value) for key, value in data.items() if not key.startswith("$")}
    return [_without_duplicates(item) for item in data[:1]] if isinstance(data, list) else data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(messages(Deployment), messages(Deployment))
def test_applying_gives_what_the_manifest_says(old: Message, new: Message) -> None:
    original, modified = _without_duplicates(encode(old)), _without_duplicates(encode(new))
    try:
        after = strategic_merge_patch(Deployment, original, three_way_patch(Deployment, original, modified, original))
    except BadRequest as error:
        # The server refuses a manifest with an item that nothing tells from the others.
        assert "does not contain the merge key" in error.message
        return
    assert three_way_patch(Deployment, modified, modified, after) == {}
