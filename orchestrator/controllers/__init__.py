"""Controllers: each keeps one subject as it should be. One file a controller, one pure `decide` at its heart.

`controllers` puts them together for a process: they share one cache per kind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from orchestrator.client import Client
from orchestrator.clock import Clock
from orchestrator.controllers import pod_gc
from orchestrator.controllers.deployment import DeploymentController
from orchestrator.controllers.endpointslice import EndpointSliceController
from orchestrator.controllers.fresh import Fresh
from orchestrator.controllers.garbage_collector import GarbageCollector
from orchestrator.controllers.informers import Informers
from orchestrator.controllers.namespace import NamespaceController
from orchestrator.controllers.node_lifecycle import NodeLifecycleController
from orchestrator.controllers.pod_cidr import PodCidrController
from orchestrator.controllers.pod_gc import PodGarbageCollector
from orchestrator.controllers.replicaset import ReplicaSetController
from orchestrator.controllers.service_account import ServiceAccountController
from orchestrator.runtime import Reconciler, Service


def controllers(client: Client, clock: Clock) -> Sequence[Service]:
    """All controllers, as services for one process (and one leader)."""
    informers = Informers(client, clock)
    return [
        Reconciler(DeploymentController(informers), client, clock),
        Reconciler(ReplicaSetController(informers), client, clock),
        Reconciler(EndpointSliceController(informers), client, clock),
        Fresh(
            NodeLifecycleController.name,
            lambda: Reconciler(NodeLifecycleController(informers, clock), client, clock),
        ),
        Reconciler(PodCidrController(informers), client, clock, workers=1),
        Reconciler(ServiceAccountController(informers), client, clock),
        Fresh(
            PodGarbageCollector.name,
            lambda: Reconciler[pod_gc.Observed](PodGarbageCollector(informers, clock), client, clock),
        ),
        Reconciler(GarbageCollector(informers), client, clock),
        NamespaceController(informers, client, clock, random.Random()),
    ]
