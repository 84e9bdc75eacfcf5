"""The arithmetic of a Deployment's update: how many pods each of its ReplicaSets may have next. Pure.

Two promises bound every step: never more pods than the wanted number and `maxSurge`, never fewer available ones than
the wanted number less `maxUnavailable`. Sizes go in and come out as a mapping from the ReplicaSet's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Value

from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Deployment, ReplicaSet

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"

Sizes = dict[str, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an update must stay within, in pods."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def fewest_available(self) -> int:
        return self.replicas - self.unavailable


def bounds_of(deployment: Deployment) -> Bounds:
    """Percentages are of the wanted number: surge rounded up, unavailable rounded down, and not both nothing."""
    replicas = deployment.spec.replicas
    if deployment.spec.strategy.type != "RollingUpdate":
        return Bounds(replicas, 0, 0)
    rolling = deployment.spec.strategy.rolling_update
    surge = _resolve(rolling.max_surge, replicas, up=True)
    unavailable = _resolve(rolling.max_unavailable, replicas, up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(replicas, surge, min(unavailable, replicas))


def _resolve(value: Value, whole: int, *, up: bool) -> int:
    if value.HasField("number_value"):
        return int(value.number_value)
    percent = int(value.string_value.removesuffix("%") or 0)
    # Integers, so that no fraction is lost: -(-a // b) is the quotient rounded up.
    return -(-percent * whole // 100) if up else percent * whole // 100


def total(replica_sets: Sequence[ReplicaSet]) -> int:
    return sum(each.spec.replicas for each in replica_sets)


def available(replica_sets: Sequence[ReplicaSet]) -> int:
    return sum(each.status.available_replicas for each in replica_sets)


def _lasting(replica_set: ReplicaSet) -> int:
    """The available pods that the ReplicaSet keeps: its status may still count some that are about to go."""
    return min(replica_set.status.available_replicas, replica_set.spec.replicas)


def is_unobserved(replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether one of them was resized and has not told anything since: what it told may miss pods it has made."""
    return any(each.status.observed_generation < each.metadata.generation for each in replica_sets)


def is_settling(replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether one of them still has more pods than it is to have, or may have."""
    return is_unobserved(replica_sets) or any(each.status.replicas > each.spec.replicas for each in replica_sets)


def _occupied(replica_sets: Sequence[ReplicaSet]) -> int:
    """The pods that there are or will be: a ReplicaSet that was cut still has those it has not deleted yet."""
    return sum(max(each.spec.replicas, each.status.replicas) for each in replica_sets)


def new_size(bounds: Bounds, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> int:
    """How many pods the new ReplicaSet may have now; None stands for one that is yet to be made."""
    size = new.spec.replicas if new is not None else 0
    if size >= bounds.replicas:
        return bounds.replicas
    everyone = [*old, new] if new is not None else old
    if is_unobserved(everyone):
        return size
    room = bounds.most - _occupied(everyone)
    return size + max(0, min(room, bounds.replicas - size))


def old_sizes(bounds: Bounds, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """What the old ReplicaSets are cut down to now: first pods that are not available anyway, then as many available
    ones as the bounds allow. Only what changes is named."""
    sizes = {each.metadata.name: each.spec.replicas for each in old}
    everyone = [*old, new]
    unavailable_new = new.spec.replicas - _lasting(new)
    removable = total(everyone) - bounds.fewest_available - unavailable_new
    if removable <= 0:
        return {}
    by_age = sorted(old, key=_age)
    for each in by_age:
        name = each.metadata.name
        unhealthy = sizes[name] - _lasting(each)
        cut = min(removable, unhealthy)
        sizes[name] -= cut
        removable -= cut
    spare = min(sum(map(_lasting, everyone)) - bounds.fewest_available, removable)
    for each in by_age:
        cut = max(0, min(sizes[each.metadata.name], spare))
        sizes[each.metadata.name] -= cut
        spare -= cut
    return _changed(sizes, old)


def proportional_sizes(bounds: Bounds, replica_sets: Sequence[ReplicaSet]) -> Sizes:
    """How a new wanted number is spread over ReplicaSets in the middle of an update: in proportion to what they have,
    the remainder to the largest. Only what changes is named."""
    active = [each for each in replica_sets if each.spec.replicas > 0]
    allowed = bounds.most if bounds.replicas else 0
    missing = allowed - total(active)
    newest_first = missing > 0
    # The largest first; among equals the newest when growing, the oldest when shrinking.
    ordered = sorted(active, key=_age, reverse=newest_first)
    ordered.sort(key=lambda each: each.spec.replicas, reverse=True)
    sizes: Sizes = {}
    given = 0
    for each in ordered:
        share = _share(bounds, each, missing, given, _annotated_maximum(each) or total(active))
        sizes[each.metadata.name] = each.spec.replicas + share
        given += share
    if ordered:
        first = ordered[0].metadata.name
        sizes[first] = max(0, sizes[first] + missing - given)
    return _changed(sizes, active)


def _share(bounds: Bounds, replica_set: ReplicaSet, missing: int, given: int, before: int) -> int:
    """What one ReplicaSet gets of what is missing (less than nothing: gives up), `before` being the most pods there
    could be when it was last sized."""
    left = missing - given
    if not left:
        return 0
    size = replica_set.spec.replicas
    if not bounds.replicas:
        return -size
    # Half up, as Kubernetes rounds here.
    grown = math.floor(size * bounds.most / before + 0.5)
    share = grown - size
    return min(share, left) if missing > 0 else max(share, left)


def _annotated_maximum(replica_set: ReplicaSet) -> int:
    text = replica_set.metadata.annotations.get(MAXIMUM, "")
    return int(text) if text.isdecimal() else 0


def is_scaled(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether the wanted number has changed since the ReplicaSets were last sized."""
    return any(
        each.spec.replicas > 0 and each.metadata.annotations.get(DESIRED, "") != str(deployment.spec.replicas)
        for each in replica_sets
        if DESIRED in each.metadata.annotations
    )


def _changed(sizes: Mapping[str, int], replica_sets: Sequence[ReplicaSet]) -> Sizes:
    now = {each.metadata.name: each.spec.replicas for each in replica_sets}
    return {name: size for name, size in sizes.items() if size != now[name]}


def _age(replica_set: ReplicaSet) -> tuple[float, str]:
    return to_datetime(replica_set.metadata.creation_timestamp).timestamp(), replica_set.metadata.name
