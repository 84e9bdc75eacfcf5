"""The cache alone: what counts as a change."""

from __future__ import annotations

from orchestrator.api.v1 import ConfigMap, ObjectMeta
from orchestrator.client.cache import Cache


def at(version: int, *, name: str = "a", uid: str = "1") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="default", name=name, uid=uid, resource_version=str(version)))


def test_only_newer_states_are_changes() -> None:
    cache: Cache[ConfigMap] = Cache({})
    assert cache.put(at(5)) == (None, at(5))
    assert cache.put(at(5)) is None
    assert cache.put(at(4)) is None
    assert cache.put(at(6)) == (at(5), at(6))


def test_an_old_deletion_does_not_end_a_new_life() -> None:
    cache: Cache[ConfigMap] = Cache({})
    cache.put(at(7, uid="2"))
    assert cache.remove(at(6)) is None
    assert cache.remove(at(8)) == (at(7, uid="2"), None)
    assert cache.remove(at(9)) is None
    assert len(cache) == 0 and cache.in_namespace("default") == []


def test_replacing_believes_what_it_is_given() -> None:
    cache: Cache[ConfigMap] = Cache({"uid": lambda obj: [obj.metadata.uid]})
    for name in ("a", "b", "c"):
        cache.put(at(100, name=name))
    assert cache.replace([at(100), at(3, name="b"), at(4, name="c", uid="2")]) == [
        (at(100, name="c"), None),
        (at(100, name="b"), at(3, name="b")),
        (None, at(4, name="c", uid="2")),
    ]
    assert [obj.metadata.name for obj in cache.by_index("uid", "2")] == ["c"]
    assert {obj.metadata.name for obj in cache.by_index("uid", "1")} == {"a", "b"}


def test_an_index_may_give_no_value_or_several_or_one_twice() -> None:
    cache: Cache[ConfigMap] = Cache({"word": lambda obj: obj.data.get("words", "").split()})
    first = at(1)
    first.data["words"] = "x y x"
    cache.put(first)
    assert cache.by_index("word", "x") == [first] and cache.by_index("word", "y") == [first]
    cache.put(at(2))
    assert cache.index_values("word") == []
