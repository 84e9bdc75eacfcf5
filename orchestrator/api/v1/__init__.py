"""The messages of the schema under one name: `from orchestrator.api.v1 import Pod, Deployment, Object`.

The modules behind it are generated from `proto/orchestrator/api/v1`, one for each file there. Services are not
re-exported: their stubs are in `resources_pb2_grpc` and `streams_pb2_grpc`.
"""

from orchestrator.api.v1.apps_pb2 import *  # noqa: F403
from orchestrator.api.v1.config_pb2 import *  # noqa: F403
from orchestrator.api.v1.container_pb2 import *  # noqa: F403
from orchestrator.api.v1.discovery_pb2 import *  # noqa: F403
from orchestrator.api.v1.event_pb2 import *  # noqa: F403
from orchestrator.api.v1.lease_pb2 import *  # noqa: F403
from orchestrator.api.v1.meta_pb2 import *  # noqa: F403
from orchestrator.api.v1.namespace_pb2 import *  # noqa: F403
from orchestrator.api.v1.node_pb2 import *  # noqa: F403
from orchestrator.api.v1.object_pb2 import *  # noqa: F403
from orchestrator.api.v1.options_pb2 import *  # noqa: F403
from orchestrator.api.v1.pod_pb2 import *  # noqa: F403
from orchestrator.api.v1.pod_status_pb2 import *  # noqa: F403
from orchestrator.api.v1.reference_pb2 import *  # noqa: F403
from orchestrator.api.v1.resources_pb2 import *  # noqa: F403
from orchestrator.api.v1.scheduling_pb2 import *  # noqa: F403
from orchestrator.api.v1.security_pb2 import *  # noqa: F403
from orchestrator.api.v1.service_pb2 import *  # noqa: F403
from orchestrator.api.v1.streams_pb2 import *  # noqa: F403
from orchestrator.api.v1.subresource_pb2 import *  # noqa: F403
from orchestrator.api.v1.volume_claim_pb2 import *  # noqa: F403
from orchestrator.api.v1.volume_pb2 import *  # noqa: F403
from orchestrator.api.v1.volume_storage_pb2 import *  # noqa: F403
