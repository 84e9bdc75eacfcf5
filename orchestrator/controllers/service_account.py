"""Service accounts: every namespace has one named "default"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.api.kinds import KubeObject
from orchestrator.api.v1 import Namespace, ObjectMeta, ServiceAccount
from orchestrator.controllers.informers import Informers
from orchestrator.runtime import Plan
from orchestrator.runtime.reconciler import AnyInformer

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Observed:
    namespace: Namespace
    has_default: bool


def decide(seen: Observed, now: datetime) -> Plan:
    if seen.has_default or seen.namespace.metadata.HasField("deletion_timestamp"):
        return Plan()
    account = ServiceAccount(metadata=ObjectMeta(name=DEFAULT, namespace=seen.namespace.metadata.name))
    return Plan(create=[account])


class ServiceAccountController:
    """Shows each namespace, and whether it has its default account."""

    name = "service-account-controller"

    def __init__(self, informers: Informers) -> None:
        self._namespaces = informers.of(Namespace)
        self._accounts = informers.of(ServiceAccount)

    def informers(self) -> Sequence[AnyInformer]:
        return (self._namespaces, self._accounts)

    def keys(self, informer: AnyInformer, obj: KubeObject) -> Iterable[str]:
        if isinstance(obj, Namespace):
            return [obj.metadata.name]
        return [obj.metadata.namespace] if obj.metadata.name == DEFAULT else []

    def observe(self, key: str) -> Observed | None:
        namespace = self._namespaces.get("", key)
        return Observed(namespace, self._accounts.get(key, DEFAULT) is not None) if namespace is not None else None

    def decide(self, seen: Observed, now: datetime) -> Plan:
        return decide(seen, now)
