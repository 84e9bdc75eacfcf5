"""What the scheduler knows of the nodes, in columns: one row a node, one NumPy array a property.

`Nodes` is kept up to date one change at a time. Amounts live in matrices (rows: nodes, columns: resources); labels and
taints become columns of small numbers when a plugin first asks for them and stay until a node's change touches them,
so a heartbeat costs nothing. Pods may be known before their node is: they count as soon as it comes.

`usage()` copies what placing a pod changes. Decisions work on such a copy and never change the snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orchestrator.api.selectors import Requirement
from orchestrator.api.v1 import Node
from orchestrator.scheduler.shape import CPU, MEMORY, PODS, HostPort, PodShape, amount

Mask = NDArray[np.bool_]
Scores = NDArray[np.float64]
Amounts = NDArray[np.int64]
# Which rows a question is about: a slice, or row numbers.
Rows = slice | NDArray[np.intp]
ALL = slice(None)

CPU_COLUMN, MEMORY_COLUMN, PODS_COLUMN = 0, 1, 2


class Taint(NamedTuple):
    key: str
    value: str
    effect: str


@dataclass(slots=True)
class _Column:
    """For each row the number of its value; `values[0]` is None, for rows without one."""

    numbers: NDArray[np.int64]
    values: list[str | None]


class Usage:
    """What pods take of the nodes: the part of a snapshot that placing a pod changes."""

    def __init__(
        self,
        requested: Amounts,
        scored: Amounts,
        ports: dict[int, list[HostPort]],
        count_owned: Callable[[str], Amounts],
    ) -> None:
        self.requested = requested
        # CPU and memory with the assumed amounts for containers that ask for none.
        self.scored = scored
        self.ports = ports
        self._count_owned = count_owned
        self._owned: dict[str, Amounts] = {}

    def owned(self, owner: str) -> Amounts:
        """How many pods of an owner each node has."""
        counts = self._owned.get(owner)
        if counts is None:
            counts = self._owned[owner] = self._count_owned(owner)
        return counts

    def place(self, row: int, request: Amounts, shape: PodShape) -> None:
        self.requested[row] += request
        self.scored[row, 0] += shape.scored_cpu
        self.scored[row, 1] += shape.scored_memory
        if shape.ports:
            self.ports[row] = [*self.ports.get(row, ()), *shape.ports]
        if shape.owner:
            self.owned(shape.owner)[row] += 1


class Nodes:
    """All nodes and what the pods on them take."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.resources: dict[str, int] = {CPU: CPU_COLUMN, MEMORY: MEMORY_COLUMN, PODS: PODS_COLUMN}
        self._rows: dict[str, int] = {}
        self._labels: list[dict[str, str]] = []
        self._taints: list[tuple[Taint, ...]] = []
        self._ports: dict[int, list[HostPort]] = {}
        self._allocatable: Amounts = np.zeros((8, 3), np.int64)
        self._requested: Amounts = np.zeros((8, 3), np.int64)
        self._scored: Amounts = np.zeros((8, 2), np.int64)
        self._unschedulable: Mask = np.zeros(8, np.bool_)
        self._pods: dict[str, tuple[str, PodShape]] = {}
        self._on_node: dict[str, set[str]] = {}
        # By owner and node name, known or not.
        self._owned: dict[str, Counter[str]] = {}
        self._columns: dict[str, _Column] = {}
        self._name_column: _Column | None = None
        self._taint_sets: tuple[NDArray[np.int64], list[tuple[Taint, ...]]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def allocatable(self) -> Amounts:
        return self._allocatable[: len(self)]

    @property
    def unschedulable(self) -> Mask:
        return self._unschedulable[: len(self)]

    def usage(self) -> Usage:
        size = len(self)
        return Usage(self._requested[:size].copy(), self._scored[:size].copy(), dict(self._ports), self._count_owned)

    # Changes

    def put_node(self, node: Node) -> bool:
        """Take in a node's present state. True when something changed that could let another pod run there."""
        name = node.metadata.name
        row = self._rows.get(name)
        fresh = row is None
        if row is None:
            row = self._add_row(name)
        offered = node.status.allocatable or node.status.capacity
        columns = {self._resource(each): amount(each, text) for each, text in offered.items()}
        allocatable = np.zeros(self._allocatable.shape[1], np.int64)
        for column, size in columns.items():
            allocatable[column] = size
        labels = dict(node.metadata.labels)
        taints = tuple(Taint(each.key, each.value, each.effect) for each in node.spec.taints)
        changed = fresh
        if fresh or not np.array_equal(allocatable, self._allocatable[row]):
            self._allocatable[row] = allocatable
            changed = True
        if fresh or labels != self._labels[row]:
            self._labels[row] = labels
            self._columns.clear()
            changed = True
        if fresh or taints != self._taints[row]:
            self._taints[row] = taints
            self._taint_sets = None
            changed = True
        if fresh or node.spec.unschedulable != self._unschedulable[row]:
            self._unschedulable[row] = node.spec.unschedulable
            changed = True
        return changed

    def remove_node(self, name: str) -> bool:
        """True if it was known. Pods on it are remembered, in case it comes back before they go."""
        row = self._rows.pop(name, None)
        if row is None:
            return False
        last = len(self.names) - 1
        if row != last:
            moved = self.names[last]
            self.names[row], self._rows[moved] = moved, row
            self._labels[row], self._taints[row] = self._labels[last], self._taints[last]
            for matrix in (self._allocatable, self._requested, self._scored, self._unschedulable):
                matrix[row] = matrix[last]
        self.names.pop()
        self._labels.pop()
        self._taints.pop()
        for matrix in (self._allocatable, self._requested, self._scored, self._unschedulable):
            matrix[last] = 0
        ports = self._ports.pop(last, None)
        self._ports.pop(row, None)
        if ports is not None and row != last:
            self._ports[row] = ports
        self._forget_columns()
        return True

    def put_pod(self, uid: str, node_name: str, shape: PodShape) -> None:
        """Count a pod on a node, known or not. Saying it again changes nothing."""
        if self._pods.get(uid) == (node_name, shape):
            return
        self.remove_pod(uid)
        self._pods[uid] = (node_name, shape)
        self._on_node.setdefault(node_name, set()).add(uid)
        if shape.owner:
            self._owned.setdefault(shape.owner, Counter())[node_name] += 1
        self._count(node_name, shape, 1)

    def remove_pod(self, uid: str) -> bool:
        """Count a pod no longer; True if it was counted."""
        known = self._pods.pop(uid, None)
        if known is None:
            return False
        node_name, shape = known
        on_node = self._on_node[node_name]
        on_node.discard(uid)
        if not on_node:
            del self._on_node[node_name]
        if shape.owner:
            owned = self._owned[shape.owner]
            owned[node_name] -= 1
            if not owned[node_name]:
                del owned[node_name]
            if not owned:
                del self._owned[shape.owner]
        self._count(node_name, shape, -1)
        return True

    # Questions

    def request(self, shape: PodShape) -> Amounts:
        """A shape's requests as a row of the matrices. A resource that no node has gets a column of its own."""
        columns = [(self._resource(name), size) for name, size in shape.requests]
        row = np.zeros(self._allocatable.shape[1], np.int64)
        for column, size in columns:
            row[column] = size
        return row

    def matching(self, requirement: Requirement) -> Mask:
        """The nodes whose labels meet a requirement."""
        column = self._columns.get(requirement.key)
        if column is None:
            column = _column(labels.get(requirement.key) for labels in self._labels)
            self._columns[requirement.key] = column
        return _gather(requirement, column)

    def named(self, requirement: Requirement) -> Mask:
        """The nodes whose names meet a requirement."""
        if self._name_column is None:
            self._name_column = _column(self.names)
        return _gather(requirement, self._name_column)

    def taint_sets(self) -> tuple[NDArray[np.int64], Sequence[tuple[Taint, ...]]]:
        """The distinct sets of taints, and for each node the number of its own."""
        if self._taint_sets is None:
            numbers: dict[tuple[Taint, ...], int] = {}
            column = np.fromiter((numbers.setdefault(each, len(numbers)) for each in self._taints), np.int64, len(self))
            self._taint_sets = (column, list(numbers))
        return self._taint_sets

    # Inside

    def _add_row(self, name: str) -> int:
        row = len(self.names)
        if row == len(self._unschedulable):
            self._allocatable, self._requested, self._scored = (
                np.pad(matrix, ((0, row), (0, 0))) for matrix in (self._allocatable, self._requested, self._scored)
            )
            self._unschedulable = np.pad(self._unschedulable, (0, row))
        self.names.append(name)
        self._rows[name] = row
        self._labels.append({})
        self._taints.append(())
        self._forget_columns()
        for uid in self._on_node.get(name, ()):
            self._count(name, self._pods[uid][1], 1)
        return row

    def _forget_columns(self) -> None:
        self._columns.clear()
        self._name_column = None
        self._taint_sets = None

    def _resource(self, name: str) -> int:
        column = self.resources.get(name)
        if column is None:
            column = self.resources[name] = len(self.resources)
            self._allocatable, self._requested = (
                np.pad(matrix, ((0, 0), (0, 1))) for matrix in (self._allocatable, self._requested)
            )
        return column

    def _count_owned(self, owner: str) -> Amounts:
        counts = np.zeros(len(self), np.int64)
        for node_name, count in self._owned.get(owner, {}).items():
            row = self._rows.get(node_name)
            if row is not None:
                counts[row] = count
        return counts

    def _count(self, node_name: str, shape: PodShape, sign: int) -> None:
        row = self._rows.get(node_name)
        if row is None:
            return
        request = self.request(shape)
        self._requested[row] += sign * request
        self._scored[row] += sign * np.array((shape.scored_cpu, shape.scored_memory), np.int64)
        if not shape.ports:
            return
        # A new list each time: copies given out share the old one.
        ports = list(self._ports.get(row, ()))
        for port in shape.ports:
            if sign > 0:
                ports.append(port)
            else:
                ports.remove(port)
        if ports:
            self._ports[row] = ports
        else:
            self._ports.pop(row, None)


def _column(values: Iterable[str | None]) -> _Column:
    numbers: dict[str | None, int] = {None: 0}
    column = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)
    return _Column(column, list(numbers))


def _gather(requirement: Requirement, column: _Column) -> Mask:
    """Ask once for each distinct value, then spread the answers over the rows."""
    answers = [requirement.matches({} if value is None else {requirement.key: value}) for value in column.values]
    return np.array(answers, np.bool_)[column.numbers]
