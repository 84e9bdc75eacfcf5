"""Deployment: moves its pods from one template to the next, through a ReplicaSet for each template.

Each look at a Deployment leads to the next small step: adopt, make the new ReplicaSet, grow it, cut the old ones,
remove what history need not keep, tell the status. A template that an old ReplicaSet already has brings that one back
with a new revision number, which is what a rollback is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.api.conventions import LAST_APPLIED, REVISION, TEMPLATE_HASH
from orchestrator.api.generated_names import ALPHABET
from orchestrator.api.kinds import KubeObject, clone, key_of
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Deployment, DeploymentStatus, ObjectMeta, Pod, PodTemplateSpec, ReplicaSet
from orchestrator.client import Informer
from orchestrator.controllers import rollout
from orchestrator.controllers.deployment_status import is_complete, status_of
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.ownership import (
    claim,
    controller_key,
    controller_of,
    controller_uid,
    is_controlled_by,
    orphaned_in,
    owner_reference,
)
from orchestrator.controllers.pods import FINISHED
from orchestrator.controllers.rollout import DESIRED, MAXIMUM, Bounds, Sizes, bounds_of
from orchestrator.runtime import Deletion, EventRecord, Plan
from orchestrator.runtime.reconciler import AnyInformer

HISTORY = "deployment.kubernetes.io/revision-history"
# Annotations that are about one object, so they are not handed down to its ReplicaSets.
_OWN = frozenset(
    (
        REVISION,
        HISTORY,
        DESIRED,
        MAXIMUM,
        LAST_APPLIED,
        "deprecated.deployment.rollback.to",
    )
)
_HASH_LENGTH = 10
_HISTORY_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Observed:
    deployment: Deployment
    replica_sets: Sequence[ReplicaSet]  # its own, orphans, and the one that has the name of the next, if any
    pods: Sequence[Pod] = ()  # of its ReplicaSets


@dataclass(slots=True)
class _Step:
    """What one look leads to; ReplicaSets are changed in copies."""

    create: list[ReplicaSet] = field(default_factory=list)
    changed: dict[str, ReplicaSet] = field(default_factory=dict)
    delete: list[ReplicaSet] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)

    def edit(self, replica_set: ReplicaSet) -> ReplicaSet:
        name = replica_set.metadata.name
        if name not in self.changed:
            self.changed[name] = clone(replica_set)
        return self.changed[name]


def decide(seen: Observed, now: datetime) -> Plan:
    deployment = seen.deployment
    query = from_label_selector(deployment.spec.selector)
    mine_or_nobodys = [
        each for each in seen.replica_sets if is_controlled_by(each, deployment) or controller_of(each) is None
    ]
    claims = claim(deployment, mine_or_nobodys, lambda each: query.matches(each.metadata.labels))
    if claims.updates:
        return Plan(update=claims.updates)
    new, old = split(deployment, claims.owned)
    if deployment.metadata.HasField("deletion_timestamp"):
        return _told(deployment, new, old, _Step(), now)
    bounds = bounds_of(deployment)
    step = _Step()
    if new is not None:
        _describe(step, deployment, new, old, bounds)
    scaled = _is_to_scale(deployment, claims.owned) and _scale(step, deployment, new, old, bounds)
    if not scaled and not deployment.spec.paused:
        move = _recreate if deployment.spec.strategy.type == "Recreate" else _roll
        move(step, seen, new, old, bounds)
    collisions = sum(each.metadata.name in _taken(seen, claims.owned) for each in step.create)
    if collisions:
        step.create.clear()
        step.events.clear()
    return _told(deployment, new, old, step, now, collisions=collisions)


def split(deployment: Deployment, owned: Iterable[ReplicaSet]) -> tuple[ReplicaSet | None, list[ReplicaSet]]:
    """The ReplicaSet that has the Deployment's template (the oldest, should there be two), and all others."""
    ordered = sorted(owned, key=lambda each: (to_datetime(each.metadata.creation_timestamp), each.metadata.name))
    new = next((each for each in ordered if same_template(each.spec.template, deployment.spec.template)), None)
    return new, [each for each in ordered if each is not new]


def same_template(one: PodTemplateSpec, other: PodTemplateSpec) -> bool:
    """Whether two templates make the same pods; the label that names the ReplicaSet doesn't count."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: PodTemplateSpec) -> PodTemplateSpec:
    if TEMPLATE_HASH not in template.metadata.labels:
        return template
    copy = PodTemplateSpec()
    copy.CopyFrom(template)
    del copy.metadata.labels[TEMPLATE_HASH]
    return copy


def template_hash(template: PodTemplateSpec, collisions: int = 0) -> str:
    """A short name for a template, the same on every machine; `collisions` leads to another one."""
    text = template.SerializeToString(deterministic=True) + str(collisions or "").encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    letters = []
    for _ in range(_HASH_LENGTH):
        number, letter = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return "".join(letters)


def next_name(deployment: Deployment) -> str:
    """The name of the ReplicaSet for the template as it is now."""
    return f"{deployment.metadata.name}-{template_hash(deployment.spec.template, deployment.status.collision_count)}"


def revision_of(obj: KubeObject) -> int:
    text = obj.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def _make(deployment: Deployment, old: Sequence[ReplicaSet], bounds: Bounds) -> ReplicaSet:
    """The ReplicaSet for a template that none has yet."""
    name = template_hash(deployment.spec.template, deployment.status.collision_count)
    made = ReplicaSet(
        metadata=ObjectMeta(
            name=next_name(deployment),
            namespace=deployment.metadata.namespace,
            labels={**deployment.spec.template.metadata.labels, TEMPLATE_HASH: name},
            annotations=_annotations(deployment, bounds)
            | {REVISION: str(max((revision_of(each) for each in old), default=0) + 1)},
            owner_references=[owner_reference(deployment)],
        )
    )
    made.spec.replicas = rollout.new_size(bounds, None, old)
    made.spec.min_ready_seconds = deployment.spec.min_ready_seconds
    made.spec.selector.CopyFrom(deployment.spec.selector)
    made.spec.selector.match_labels[TEMPLATE_HASH] = name
    made.spec.template.CopyFrom(deployment.spec.template)
    made.spec.template.metadata.labels[TEMPLATE_HASH] = name
    return made


def _annotations(deployment: Deployment, bounds: Bounds) -> dict[str, str]:
    handed_down = {key: value for key, value in deployment.metadata.annotations.items() if key not in _OWN}
    return handed_down | {DESIRED: str(bounds.replicas), MAXIMUM: str(bounds.most)}


def _describe(step: _Step, deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet], bounds: Bounds) -> None:
    """Keeps the new ReplicaSet's revision the highest, and what it inherits up to date."""
    wanted = {key: value for key, value in _annotations(deployment, bounds).items() if key not in (DESIRED, MAXIMUM)}
    revision = max((revision_of(each) for each in old), default=0) + 1
    if revision_of(new) < revision:
        if before := new.metadata.annotations.get(REVISION):
            wanted[HISTORY] = _with_revision(new.metadata.annotations.get(HISTORY, ""), before)
        wanted[REVISION] = str(revision)
    stale = wanted.items() - new.metadata.annotations.items()
    if stale or new.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
        edited = step.edit(new)
        edited.metadata.annotations.update(dict(stale))
        edited.spec.min_ready_seconds = deployment.spec.min_ready_seconds


def _with_revision(history: str, revision: str) -> str:
    """The history with one more revision; the earliest ones are dropped when it gets too long."""
    revisions = [*(history.split(",") if history else ()), revision]
    while len(",".join(revisions)) > _HISTORY_LENGTH:
        del revisions[0]
    return ",".join(revisions)


def _is_to_scale(deployment: Deployment, owned: Sequence[ReplicaSet]) -> bool:
    """Whether sizing comes before all else. A paused update sizes only the one ReplicaSet that runs, or ran last."""
    if rollout.is_scaled(deployment, owned):
        return True
    return deployment.spec.paused and sum(each.spec.replicas > 0 for each in owned) <= 1


def _scale(
    step: _Step, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], bounds: Bounds
) -> bool:
    """The wanted number has changed: size what there is, before anything else moves. False when that is not for this
    strategy to do."""
    everyone = [*old, new] if new is not None else list(old)
    active = [each for each in everyone if each.spec.replicas > 0]
    if len(active) <= 1:
        # Without an active one: the new one, or else the newest (they are in the order of their age).
        only = active[0] if active else everyone[-1] if everyone else None
        if only is not None:
            _resize(step, deployment, [only], {only.metadata.name: bounds.replicas}, bounds)
        return True
    if new is not None and _is_saturated(deployment, new):
        _resize(step, deployment, everyone, {each.metadata.name: 0 for each in old if each.spec.replicas}, bounds)
        return True
    if deployment.spec.strategy.type == "RollingUpdate":
        if rollout.is_settling(everyone):
            return True  # when they have, there is another look
        _resize(step, deployment, active, rollout.proportional_sizes(bounds, everyone), bounds)
        return True
    return False


def _is_saturated(deployment: Deployment, new: ReplicaSet) -> bool:
    replicas = deployment.spec.replicas
    return (
        new.spec.replicas == replicas
        and new.metadata.annotations.get(DESIRED) == str(replicas)
        and new.status.available_replicas == replicas
    )


def _roll(step: _Step, seen: Observed, new: ReplicaSet | None, old: Sequence[ReplicaSet], bounds: Bounds) -> None:
    if new is None:
        _create(step, seen.deployment, old, bounds)
        return
    size = rollout.new_size(bounds, new, old)
    if size != new.spec.replicas:
        _resize(step, seen.deployment, [new], {new.metadata.name: size}, bounds)
        return
    _resize(step, seen.deployment, old, rollout.old_sizes(bounds, new, old), bounds)


def _recreate(step: _Step, seen: Observed, new: ReplicaSet | None, old: Sequence[ReplicaSet], bounds: Bounds) -> None:
    cut = {each.metadata.name: 0 for each in old if each.spec.replicas}
    if cut:
        _resize(step, seen.deployment, old, cut, bounds)
        return
    gone = {each.metadata.uid for each in old}
    if any(_runs_for(pod, gone) for pod in seen.pods):
        return
    if new is None:
        _create(step, seen.deployment, old, bounds)
    elif new.spec.replicas != bounds.replicas:
        _resize(step, seen.deployment, [new], {new.metadata.name: bounds.replicas}, bounds)


def _runs_for(pod: Pod, uids: set[str]) -> bool:
    owner = controller_of(pod)
    return owner is not None and owner.uid in uids and pod.status.phase not in FINISHED


def _create(step: _Step, deployment: Deployment, old: Sequence[ReplicaSet], bounds: Bounds) -> None:
    made = _make(deployment, old, bounds)
    step.create.append(made)
    if made.spec.replicas:
        step.events.append(_scaled(deployment, made.metadata.name, 0, made.spec.replicas))


def _resize(
    step: _Step, deployment: Deployment, replica_sets: Iterable[ReplicaSet], sizes: Sizes, bounds: Bounds
) -> None:
    """Gives ReplicaSets new sizes, and notes on each the number they were sized for."""
    for each in replica_sets:
        name = each.metadata.name
        size = sizes.get(name, each.spec.replicas)
        note = {DESIRED: str(bounds.replicas), MAXIMUM: str(bounds.most)}
        if size == each.spec.replicas and (not size or note.items() <= each.metadata.annotations.items()):
            continue
        edited = step.edit(each)
        edited.metadata.annotations.update(note)
        if size != each.spec.replicas:
            step.events.append(_scaled(deployment, name, each.spec.replicas, size))
            edited.spec.replicas = size


def _scaled(deployment: Deployment, name: str, before: int, after: int) -> EventRecord:
    direction = "up" if after > before else "down"
    message = f"Scaled {direction} replica set {name} from {before} to {after}"
    return EventRecord(deployment, "Normal", "ScalingReplicaSet", message)


def _taken(seen: Observed, owned: Sequence[ReplicaSet]) -> frozenset[str]:
    mine = {each.metadata.name for each in owned}
    return frozenset(each.metadata.name for each in seen.replica_sets) - mine


def _superfluous(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Old ReplicaSets beyond the history limit, the earliest revisions first; never one that has pods."""
    kept = [each for each in old if not each.metadata.HasField("deletion_timestamp")]
    surplus = len(kept) - deployment.spec.revision_history_limit
    return [each for each in sorted(kept, key=revision_of)[: max(0, surplus)] if _is_idle(each)]


def _is_idle(replica_set: ReplicaSet) -> bool:
    observed = replica_set.status.observed_generation >= replica_set.metadata.generation
    return observed and not replica_set.spec.replicas and not replica_set.status.replicas


def _told(
    deployment: Deployment,
    new: ReplicaSet | None,
    old: Sequence[ReplicaSet],
    step: _Step,
    now: datetime,
    *,
    collisions: int = 0,
) -> Plan:
    """The plan of a step, with the status and the revision that fit it."""
    made = step.create[0] if step.create else None
    told = status_of(deployment, new, old, now, made=made, collisions=collisions)
    if deployment.spec.paused or is_complete(deployment, told.status):
        step.delete = _superfluous(deployment, old)
    current = made if new is None else step.changed.get(new.metadata.name, new)
    update: list[KubeObject] = list(step.changed.values())
    revision = current.metadata.annotations.get(REVISION, "") if current is not None else ""
    if revision and deployment.metadata.annotations.get(REVISION) != revision:
        annotated = clone(deployment)
        annotated.metadata.annotations[REVISION] = revision
        update.append(annotated)
    return Plan(
        create=step.create,
        update=update,
        update_status=[_with_status(deployment, told.status)] if told.status != deployment.status else [],
        delete=[Deletion(each) for each in step.delete],
        events=step.events,
        requeue_after=told.look_again_after,
    )


def _with_status(deployment: Deployment, status: DeploymentStatus) -> Deployment:
    changed = clone(deployment)
    changed.status.CopyFrom(status)
    return changed


class DeploymentController:
    """Shows each Deployment its ReplicaSets and their pods."""

    name = "deployment-controller"

    def __init__(self, informers: Informers) -> None:
        self._deployments = informers.of(Deployment)
        self._sets = informers.of(ReplicaSet)
        self._pods: Informer[Pod] = informers.of(Pod)
        self._sets.add_index("controller", controller_uid)
        self._sets.add_index("orphans", orphaned_in)
        self._pods.add_index("controller", controller_uid)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._deployments, self._sets, self._pods)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        match obj:
            case Deployment():
                return [key_of(obj)]
            case ReplicaSet() if controller_of(obj) is None:
                return [
                    key_of(each)
                    for each in self._deployments.list(obj.metadata.namespace)
                    if from_label_selector(each.spec.selector).matches(obj.metadata.labels)
                ]
            case ReplicaSet():
                return controller_key(obj, "Deployment")
            case _:
                return self._waiting_for(obj)

    def _waiting_for(self, pod: KubeObject) -> Iterable[str]:
        """A pod matters itself only to Recreate, which waits for the last old one to be gone."""
        for key in controller_key(pod, "ReplicaSet"):
            replica_set = self._sets.get_by_key(key)
            for owner in controller_key(replica_set, "Deployment") if replica_set is not None else ():
                deployment = self._deployments.get_by_key(owner)
                if deployment is not None and deployment.spec.strategy.type == "Recreate":
                    yield owner

    def observe(self, key: str) -> Observed | None:
        deployment = self._deployments.get_by_key(key)
        if deployment is None:
            return None
        namespace = deployment.metadata.namespace
        owned = self._sets.by_index("controller", deployment.metadata.uid)
        orphans = self._sets.by_index("orphans", namespace)
        namesake = self._sets.get(namespace, next_name(deployment))
        known = {each.metadata.name for each in (*owned, *orphans)}
        others = [namesake] if namesake is not None and namesake.metadata.name not in known else []
        pods: list[Pod] = []
        if deployment.spec.strategy.type == "Recreate":
            pods = [pod for each in owned for pod in self._pods.by_index("controller", each.metadata.uid)]
        return Observed(deployment, [*owned, *orphans, *others], pods)

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)
