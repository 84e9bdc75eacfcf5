"""Patches: RFC 7386, RFC 6902 and the strategic merge, and that none of them changes what it was given."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given, settings

from orchestrator.api.errors import ApiError, BadRequest, Invalid, RequestEntityTooLarge
from orchestrator.api.patch import json_patch, merge_patch, strategic_merge_patch
from orchestrator.api.v1 import Deployment, ObjectMeta, Pod, PodSpec
from tests.unit.api.schema_strategies import json_values


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ([1], {"a": 1}, {"a": 1}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


CONTAINERS: list[dict[str, Any]] = [{"name": "a", "image": "a:1", "args": ["x", "y"]}, {"name": "b", "image": "b:1"}]


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (
            {"containers": CONTAINERS},
            {"containers": [{"name": "a", "image": "a:2"}]},
            {"containers": [{**CONTAINERS[0], "image": "a:2"}, CONTAINERS[1]]},
        ),
        (
            {"containers": CONTAINERS},
            {"containers": [{"name": "c"}, {"name": "b", "$patch": "delete"}]},
            {"containers": [CONTAINERS[0], {"name": "c"}]},
        ),
        (
            {"containers": CONTAINERS},
            {"containers": [{"$patch": "replace"}, {"name": "c"}]},
            {"containers": [{"name": "c"}]},
        ),
        (
            {"containers": CONTAINERS},
            {"containers": [{"name": "a", "args": ["z"]}]},  # no merge key: replaced
            {"containers": [{**CONTAINERS[0], "args": ["z"]}, CONTAINERS[1]]},
        ),
        (
            {"containers": CONTAINERS},
            {
                "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
                "containers": [{"name": "c"}],
            },
            {"containers": [{"name": "c"}, CONTAINERS[1], CONTAINERS[0]]},
        ),
        (
            {"tolerations": [{"key": "a"}]},  # atomic
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
        ),
        (
            {"securityContext": {"runAsUser": 1, "runAsGroup": 2}},
            {"securityContext": {"$patch": "replace", "runAsUser": 3}},
            {"securityContext": {"runAsUser": 3}},
        ),
        ({"securityContext": {"runAsUser": 1}}, {"securityContext": {"$patch": "delete"}}, {"securityContext": {}}),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]},
        ),
        ({}, {"nodeSelector": {"a": "b", "c": None}}, {"nodeSelector": {"a": "b"}}),
        ({"nodeSelector": {"a": "b"}}, {"nodeSelector": None}, {}),
        ({"hostNetwork": True}, {"unknownField": [1]}, {"hostNetwork": True, "unknownField": [1]}),
    ],
)  # fmt: skip
def test_strategic_merge(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy((target, patch))
    assert strategic_merge_patch(PodSpec, target, patch) == result
    assert (target, patch) == before


def test_strategic_merge_of_scalars() -> None:
    target = {"finalizers": ["a", "b"]}
    assert strategic_merge_patch(ObjectMeta, target, {"finalizers": ["b", "c"]}) == {"finalizers": ["a", "b", "c"]}
    gone = {
        "$deleteFromPrimitiveList/finalizers": ["a"],
        "$setElementOrder/finalizers": ["c", "b"],
        "finalizers": ["c"],
    }
    assert strategic_merge_patch(ObjectMeta, target, gone) == {"finalizers": ["c", "b"]}
    assert strategic_merge_patch(ObjectMeta, {}, {"$deleteFromPrimitiveList/finalizers": ["a"]}) == {}


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ([], "a strategic merge patch must be a JSON object"),
        ({"spec": {"$patch": "drop"}}, 'spec: unknown directive "$patch: drop": use delete, replace or merge'),
        (
            {"spec": {"containers": [{"image": "x"}]}},
            'spec.containers: an item does not contain the merge key "name"',
        ),
        ({"spec": {"containers": [{"name": {}}]}}, 'spec.containers: an item does not contain the merge key "name"'),
        ({"spec": {"containers": ["x"]}}, "spec.containers: an item of this list must be an object"),
        ({"spec": {"$retainKeys": "x"}}, "spec.$retainKeys: must be a list of strings"),
        ({"$setElementOrder/x": 3, "x": []}, "$setElementOrder/x: must be a list"),
    ],
)
def test_directives_that_make_no_sense(patch: Any, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        strategic_merge_patch(Pod, {}, patch)
    assert caught.value.message == message


@settings(max_examples=200, deadline=None)
@given(json_values, json_values)
def test_patches_are_pure_and_fail_by_name(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    shapes: list[Any] = [
        patch,
        {"spec": patch, "metadata": patch},
        {"spec": {"template": {"spec": {"containers": patch}}}},
    ]
    for shape in shapes:
        for apply in (merge_patch, lambda one, other: strategic_merge_patch(Deployment, one, other), json_patch):
            try:
                apply({"spec": target}, shape)
            except ApiError as error:
                assert error.message
    assert (target, patch) == before


@settings(max_examples=100, deadline=None)
@given(json_values)
def test_merging_twice_is_merging_once(value: Any) -> None:
    once = merge_patch({"a": 1}, {"v": value})
    assert merge_patch(once, {"v": value}) == once


def test_patches_are_bounded() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    nested: Any = {}
    for _ in range(5000):
        nested = {"a": nested}
    for patch in ({"a": deep}, nested):
        with pytest.raises(BadRequest, match="levels deep"):
            merge_patch({}, patch)
        with pytest.raises(BadRequest, match="levels deep"):
            strategic_merge_patch(Pod, {}, patch)
    doubling = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(60)]
    with pytest.raises(RequestEntityTooLarge):
        json_patch({"a": 1}, doubling)
    with pytest.raises(RequestEntityTooLarge):
        json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)


def test_long_lists_are_merged_in_linear_time() -> None:
    items = [{"name": f"c{number}"} for number in range(20_000)]
    began = time.process_time()
    merged = strategic_merge_patch(PodSpec, {"containers": items}, {"containers": items})
    assert len(merged["containers"]) == 20_000
    assert time.process_time() - began < 5  # quadratic would take minutes


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
        ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}],
         {"a": [1], "b": [1, 2]}),
        ({"a/b": 1, "m~n": 2}, [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/m~0n"}],
         {"a/b": 1}),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
        ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
    ],
)  # fmt: skip
def test_json_patch(target: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == result
    assert target == before


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ({}, BadRequest),
        ([1], BadRequest),
        ([{"op": "frobnicate", "path": "/a"}], BadRequest),
        ([{"op": "add", "path": "a", "value": 1}], BadRequest),
        ([{"op": "add", "path": "/a"}], BadRequest),
        ([{"op": "add"}], BadRequest),
        ([{"op": "move", "path": "/a"}], BadRequest),
        ([{"op": "test", "path": "/a", "value": True}], Invalid),  # 1 is not true
        ([{"op": "test", "path": "/nowhere", "value": None}], Invalid),
        ([{"op": "remove", "path": "/nowhere"}], Invalid),
        ([{"op": "replace", "path": "/nowhere", "value": 1}], Invalid),
        ([{"op": "add", "path": "/a/b/c", "value": 1}], Invalid),
        ([{"op": "add", "path": "/l/5", "value": 1}], Invalid),
        ([{"op": "add", "path": "/l/-1", "value": 1}], Invalid),
        ([{"op": "remove", "path": "/l/01"}], Invalid),
        ([{"op": "remove", "path": "/l/٠"}], Invalid),
        ([{"op": "remove", "path": "/l/-"}], Invalid),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], Invalid),
        ([{"op": "remove", "path": ""}], Invalid),
        ([{"op": "replace", "path": "", "value": 3}], Invalid),
    ],
)
def test_json_patches_that_do_not_fit(operations: Any, error: type[ApiError]) -> None:
    target = {"a": 1, "l": [0, 1], "o": {}}
    with pytest.raises(error):
        json_patch(target, operations)
    assert target == {"a": 1, "l": [0, 1], "o": {}}
