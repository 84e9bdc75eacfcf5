"""FieldsV1 and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import errors
from orchestrator.api.apply.paths import field, from_tree, keyed, show, to_tree, valued, with_parents

ELEMENTS = st.one_of(
    st.text(min_size=1, max_size=5).map(field),
    st.dictionaries(st.sampled_from(["name", "port"]), st.integers(0, 9), min_size=1).map(keyed),
    st.text(max_size=3).map(valued),
)
PATHS = st.frozensets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8)


@given(PATHS)
def test_a_set_is_the_same_after_the_way_through_its_tree(paths: frozenset[tuple[str, ...]]) -> None:
    assert from_tree(to_tree(paths)) == paths


def test_the_tree_is_the_one_kubernetes_writes() -> None:
    item = ("f:spec", "f:containers", keyed({"name": "c"}))
    tree = to_tree([item, (*item, "f:image"), ("f:metadata", "f:finalizers", valued("x"))])
    assert tree == {
        "f:metadata": {"f:finalizers": {'v:"x"': {}}},
        "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}}}},
    }


@pytest.mark.parametrize("tree", [{"x:a": {}}, {"f:a": 1}, {"f:a": {"b": {}}}, {"f:a": []}])
def test_what_is_no_tree_is_refused(tree: dict[str, object]) -> None:
    with pytest.raises(errors.BadRequest, match="managedFields"):
        from_tree(tree)


def test_a_path_is_shown_as_people_write_it() -> None:
    assert show(("f:spec", "f:ports", keyed({"port": 80, "protocol": "TCP"}), "f:name")) == (
        '.spec.ports[port=80,protocol="TCP"].name'
    )


def test_parents() -> None:
    assert with_parents([("f:a", "f:b", "f:c")]) == {("f:a",), ("f:a", "f:b"), ("f:a", "f:b", "f:c")}
