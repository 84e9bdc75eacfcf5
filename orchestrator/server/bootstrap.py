"""What a server makes sure of before it serves: the namespaces every cluster has, and allocations that agree with the
services there are.
"""

from __future__ import annotations

import logging

from orchestrator.api import errors
from orchestrator.api.kinds import kind_of, wrap
from orchestrator.api.v1 import CreateRequest, Namespace, ObjectMeta, Service
from orchestrator.logs import fields
from orchestrator.pki import MASTERS, Identity
from orchestrator.server.allocation import ALLOCATIONS, reconcile_allocations
from orchestrator.server.caller import Caller
from orchestrator.server.encoding import decode
from orchestrator.server.keys import prefix_of
from orchestrator.server.registry import Registry
from orchestrator.store import Compare, Delete, Put, Store

log = logging.getLogger("bootstrap")

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
ITSELF = Caller(Identity("kube-apiserver", (MASTERS,)), "in process")


async def ensure_namespaces(registry: Registry) -> None:
    """Make the namespaces of every cluster, where they are missing."""
    for name in NAMESPACES:
        try:
            await registry.create(ITSELF, CreateRequest(object=wrap(Namespace(metadata=ObjectMeta(name=name)))))
        except errors.AlreadyExists:
            continue


async def heal_allocations(store: Store) -> None:
    """Correct the stored allocations by the services of the same revision."""
    kind = kind_of(Service)
    found = await store.range(prefix_of(kind, ""))
    revisions = {each.key: each.mod_revision for each in found.items}
    services = [decode(kind, each.value) for each in found.items]
    for each in (await store.range(ALLOCATIONS, revision=found.revision)).items:
        revisions[each.key] = each.mod_revision
    keys = (key for key in revisions if key.startswith(ALLOCATIONS))
    missing, surplus = reconcile_allocations((each for each in services if isinstance(each, Service)), keys)
    operations: list[Put | Delete] = [*missing, *surplus]
    for operation in operations:
        log.warning("healing an allocation", extra=fields(key=operation.key, missing=isinstance(operation, Put)))
        # Whoever changes the key or its service meanwhile, on this server or another, knows better.
        compares = [Compare(operation.key, revisions.get(operation.key, 0))]
        if isinstance(operation, Put):
            owner = prefix_of(kind, "") + operation.value.decode()
            compares.append(Compare(owner, revisions[owner]))
        await store.txn(compares, [operation])
