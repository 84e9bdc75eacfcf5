"""The objects an informer knows, and the indexes over them. No I/O: changes go in, what really changed comes out.

Objects are kept as they came and are shared with everyone who asks, so nobody may change them. An index is a function
from an object to strings; nothing is kept per object for it, since what an old object was filed under can be computed
again.

A change that is not newer than what is known is no change: after a break a watch may repeat its last revision, and here
it stops.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from orchestrator.api.kinds import KubeObject

K = TypeVar("K", bound=KubeObject)

IndexFunction = Callable[[K], Iterable[str]]


class Transition(NamedTuple, Generic[K]):
    """One object before and after a change. `old` is None for a new one, `new` for one that is gone."""

    old: K | None
    new: K | None


class Cache(Generic[K]):
    """Objects by namespace and name, with indexes."""

    def __init__(self, indexes: Mapping[str, IndexFunction[K]]) -> None:
        self._objects: dict[str, dict[str, K]] = {}
        self._functions: dict[str, IndexFunction[K]] = dict(indexes)
        self._indexes: dict[str, dict[str, dict[tuple[str, str], K]]] = {name: {} for name in indexes}

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def __iter__(self) -> Iterator[K]:
        for objects in self._objects.values():
            yield from objects.values()

    def get(self, namespace: str, name: str) -> K | None:
        objects = self._objects.get(namespace)
        return None if objects is None else objects.get(name)

    def in_namespace(self, namespace: str) -> list[K]:
        return list(self._objects.get(namespace, {}).values())

    def by_index(self, index: str, value: str) -> list[K]:
        """The objects whose index function gave that value. KeyError for an index that was never declared."""
        return list(self._indexes[index].get(value, {}).values())

    def index_values(self, index: str) -> list[str]:
        """Every value that some object is filed under."""
        return list(self._indexes[index])

    def add_index(self, name: str, function: IndexFunction[K]) -> None:
        """File everything, present and future, under one more index. The same again changes nothing."""
        if name in self._functions:
            if self._functions[name] is not function:
                raise ValueError(f'there is another index "{name}"')
            return
        self._functions[name] = function
        self._indexes[name] = {}
        for obj in self:
            self._file(name, obj)

    def put(self, obj: K) -> Transition[K] | None:
        """Take in a new state of an object; None when this one or a later one is known already."""
        metadata = obj.metadata
        known = self.get(metadata.namespace, metadata.name)
        if known is not None and version(known) >= version(obj):
            return None
        self._store(known, obj)
        return Transition(known, obj)

    def remove(self, last: K) -> Transition[K] | None:
        """Drop an object that was deleted at `last`'s version; None when it is not there, or again in a later life."""
        metadata = last.metadata
        known = self.get(metadata.namespace, metadata.name)
        if known is None or version(known) > version(last):
            return None
        self._store(known, None)
        return Transition(known, None)

    def replace(self, objects: Iterable[K]) -> list[Transition[K]]:
        """Become exactly these objects, and tell what that changes, removals first.

        An object that was deleted and made again under its name is two transitions: those who look at lives by their
        uid see the first one end. Versions are not compared, only told apart: a store that was restored from a backup
        counts from an earlier revision, and what it says is the truth.
        """
        wanted = {(obj.metadata.namespace, obj.metadata.name): obj for obj in objects}
        removed: list[Transition[K]] = []
        changed: list[Transition[K]] = []
        for known in list(self):
            new = wanted.get((known.metadata.namespace, known.metadata.name))
            if new is None or new.metadata.uid != known.metadata.uid:
                self._store(known, None)
                removed.append(Transition(known, None))
        for obj in wanted.values():
            old = self.get(obj.metadata.namespace, obj.metadata.name)
            if old is None or old.metadata.resource_version != obj.metadata.resource_version:
                self._store(old, obj)
                changed.append(Transition(old, obj))
        return removed + changed

    def _store(self, old: K | None, new: K | None) -> None:
        if old is not None:
            for index in self._functions:
                self._unfile(index, old)
        if new is not None:
            metadata = new.metadata
            self._objects.setdefault(sys.intern(metadata.namespace), {})[metadata.name] = new
            for index in self._functions:
                self._file(index, new)
        elif old is not None:
            objects = self._objects[old.metadata.namespace]
            del objects[old.metadata.name]
            if not objects:
                del self._objects[old.metadata.namespace]

    def _file(self, index: str, obj: K) -> None:
        values = self._indexes[index]
        for value in self._functions[index](obj):
            values.setdefault(value, {})[_key(obj)] = obj

    def _unfile(self, index: str, obj: K) -> None:
        values = self._indexes[index]
        for value in self._functions[index](obj):
            objects = values.get(value)
            if objects is not None and objects.pop(_key(obj), None) is not None and not objects:
                del values[value]


def version(obj: KubeObject) -> int:
    """The store revision of an object's last write."""
    return int(obj.metadata.resource_version or 0)


def _key(obj: KubeObject) -> tuple[str, str]:
    return obj.metadata.namespace, obj.metadata.name
