"""A world in memory in which Deployments and ReplicaSets are decided step by step, and pods come up when a test says.

Plans are carried out as the server would: uids, versions, generations, no update of an old version. Nothing else
happens between two steps, so a history is a list of steps.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

from orchestrator.api.kinds import KubeObject, clone
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Deployment, Pod, PodCondition, ReplicaSet
from orchestrator.controllers import deployment as deployments
from orchestrator.controllers import replicaset as replica_sets
from orchestrator.controllers.ownership import controller_of
from orchestrator.controllers.pods import is_active, is_available
from orchestrator.runtime import Plan
from tests.unit.controllers.objects import NOW

K = TypeVar("K", bound=KubeObject)


class World:
    """One Deployment and what comes of it."""

    def __init__(self, deployment: Deployment) -> None:
        self.now: datetime = NOW
        self.deployment = deployment
        self.replica_sets: dict[str, ReplicaSet] = {}
        self.pods: dict[str, Pod] = {}
        self._revision = 1000

    # What happens.

    def look_at_deployment(self) -> Plan:
        seen = deployments.Observed(self.deployment, list(self.replica_sets.values()), list(self.pods.values()))
        plan = deployments.decide(seen, self.now)
        self._carry_out(plan)
        return plan

    def look_at_replica_set(self, name: str) -> Plan:
        replica_set = self.replica_sets[name]
        owned: list[Pod] = []
        siblings: list[Pod] = []
        orphans: list[Pod] = []
        for pod in self.pods.values():
            owner = controller_of(pod)
            place = orphans if owner is None else owned if owner.uid == replica_set.metadata.uid else siblings
            place.append(pod)
        plan = replica_sets.decide(replica_sets.Observed(replica_set, [*owned, *orphans], siblings), self.now)
        self._carry_out(plan)
        return plan

    def start_pod(self, name: str) -> None:
        pod = clone(self.pods[name])
        pod.spec.node_name, pod.status.phase = "n1", "Running"
        since = to_timestamp(self.now)
        pod.status.conditions.append(PodCondition(type="Ready", status="True", last_transition_time=since))
        self.pods[name] = self._versioned(pod)

    def end_pod(self, name: str) -> None:
        """The kubelet is done with a pod that was asked to go."""
        del self.pods[name]

    def change(self, *, image: str | None = None, replicas: int | None = None, paused: bool | None = None) -> None:
        changed = clone(self.deployment)
        if image is not None:
            changed.spec.template.spec.containers[0].image = image
        if replicas is not None:
            changed.spec.replicas = replicas
        if paused is not None:
            changed.spec.paused = paused
        if changed.spec != self.deployment.spec:
            changed.metadata.generation += 1
        self.deployment = self._versioned(changed)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def settle(self, rounds: int = 300) -> int:
        """Let everything work until there is nothing to do; returns how many rounds that took."""
        for number in range(rounds):
            busy = does_something(self.look_at_deployment())
            for name in list(self.replica_sets):
                busy |= does_something(self.look_at_replica_set(name))
            for name in self.waiting():
                self.start_pod(name)
                busy = True
            for name in self.leaving():
                self.end_pod(name)
                busy = True
            if not busy:
                return number
        raise AssertionError(f"no end after {rounds} rounds: {self}")

    # What is to be seen.

    def active(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if is_active(pod)]

    def available(self) -> int:
        return sum(is_available(pod, self.deployment.spec.min_ready_seconds, self.now) for pod in self.active())

    def waiting(self) -> list[str]:
        """Pods that are not up yet."""
        return sorted(pod.metadata.name for pod in self.active() if not pod.status.conditions)

    def leaving(self) -> list[str]:
        return sorted(name for name, pod in self.pods.items() if pod.metadata.HasField("deletion_timestamp"))

    def images(self) -> list[str]:
        return sorted(pod.spec.containers[0].image for pod in self.active())

    def __str__(self) -> str:
        sets = {name: (each.spec.replicas, each.status.replicas) for name, each in self.replica_sets.items()}
        return (
            f"{self.deployment.spec.replicas} wanted, sets {sets}, {len(self.pods)} pods, {self.available()} available"
        )

    # Plans.

    def _carry_out(self, plan: Plan) -> None:
        for obj in plan.create:
            made = clone(obj)
            made.metadata.uid = f"uid-{self._revision}"
            made.metadata.generation = 1
            made.metadata.creation_timestamp.CopyFrom(to_timestamp(self.now))
            match made:
                case Pod():
                    made.status.phase = "Pending"
                    assert made.metadata.name not in self.pods
                    self.pods[made.metadata.name] = self._versioned(made)
                case ReplicaSet():
                    assert made.metadata.name not in self.replica_sets
                    self.replica_sets[made.metadata.name] = self._versioned(made)
        updated: set[tuple[type[KubeObject], str]] = set()
        for obj in plan.update:
            self._update(obj, status=False, checked=True)
            updated.add((type(obj), obj.metadata.name))
        for deletion in plan.delete:
            self._delete(deletion.obj)
        for obj in plan.update_status:
            self._update(obj, status=True, checked=(type(obj), obj.metadata.name) not in updated)

    def _update(self, obj: KubeObject, *, status: bool, checked: bool) -> None:
        match obj:
            case Deployment():
                current: Deployment | ReplicaSet | Pod = self.deployment
            case ReplicaSet():
                current = self.replica_sets[obj.metadata.name]
            case Pod():
                current = self.pods[obj.metadata.name]
            case _:
                raise AssertionError(f"an update of a {type(obj).__name__}")
        assert not checked or obj.metadata.resource_version == current.metadata.resource_version, "an old version"
        if status:
            changed = clone(current)
            changed.status.CopyFrom(obj.status)  # type: ignore[arg-type]
        else:
            changed = clone(obj)
            changed.status.CopyFrom(current.status)  # type: ignore[arg-type]
            if changed.spec != current.spec:
                changed.metadata.generation += 1
        assert changed != current, f"an update that changes nothing: {changed}"
        changed = self._versioned(changed)
        match changed:
            case Deployment():
                self.deployment = changed
            case ReplicaSet():
                self.replica_sets[changed.metadata.name] = changed
            case Pod():
                self.pods[changed.metadata.name] = changed

    def _delete(self, obj: KubeObject) -> None:
        name = obj.metadata.name
        if isinstance(obj, ReplicaSet):
            assert not any(owner.uid == obj.metadata.uid for pod in self.pods.values() if (owner := controller_of(pod)))
            del self.replica_sets[name]
        elif self.pods[name].spec.node_name:
            pod = clone(self.pods[name])
            pod.metadata.deletion_timestamp.CopyFrom(to_timestamp(self.now))
            self.pods[name] = self._versioned(pod)
        else:
            del self.pods[name]

    def _versioned(self, obj: K) -> K:
        self._revision += 1
        obj.metadata.resource_version = str(self._revision)
        return obj


def does_something(plan: Plan) -> bool:
    return bool(plan.create or plan.update or plan.delete or plan.update_status or plan.events)
