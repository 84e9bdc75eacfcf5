"""The messages of the schema under one name: `from orchestrator.api.v1 import Pod, Deployment, Object`.

Their descriptors become known here, all at once, from one generated module; the class of a message is made when
somebody asks for it, for a program uses few of the hundreds there are. The modules generated from each file of
`proto/orchestrator/api/v1` hold the same classes: they tell the type checker what there is. Services are not
re-exported: their stubs are in `resources_pb2_grpc` and `streams_pb2_grpc`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.v1.apps_pb2 import *  # noqa: F403
    from orchestrator.api.v1.autoscaling_pb2 import *  # noqa: F403
    from orchestrator.api.v1.batch_pb2 import *  # noqa: F403
    from orchestrator.api.v1.certificates_pb2 import *  # noqa: F403
    from orchestrator.api.v1.config_pb2 import *  # noqa: F403
    from orchestrator.api.v1.container_pb2 import *  # noqa: F403
    from orchestrator.api.v1.daemon_set_pb2 import *  # noqa: F403
    from orchestrator.api.v1.discovery_pb2 import *  # noqa: F403
    from orchestrator.api.v1.endpoints_pb2 import *  # noqa: F403
    from orchestrator.api.v1.event_pb2 import *  # noqa: F403
    from orchestrator.api.v1.lease_pb2 import *  # noqa: F403
    from orchestrator.api.v1.meta_pb2 import *  # noqa: F403
    from orchestrator.api.v1.namespace_pb2 import *  # noqa: F403
    from orchestrator.api.v1.networking_pb2 import *  # noqa: F403
    from orchestrator.api.v1.node_pb2 import *  # noqa: F403
    from orchestrator.api.v1.object_pb2 import *  # noqa: F403
    from orchestrator.api.v1.options_pb2 import *  # noqa: F403
    from orchestrator.api.v1.persistent_volume_pb2 import *  # noqa: F403
    from orchestrator.api.v1.persistent_volume_source_pb2 import *  # noqa: F403
    from orchestrator.api.v1.pod_pb2 import *  # noqa: F403
    from orchestrator.api.v1.pod_status_pb2 import *  # noqa: F403
    from orchestrator.api.v1.policy_pb2 import *  # noqa: F403
    from orchestrator.api.v1.quota_pb2 import *  # noqa: F403
    from orchestrator.api.v1.rbac_pb2 import *  # noqa: F403
    from orchestrator.api.v1.reference_pb2 import *  # noqa: F403
    from orchestrator.api.v1.replication_pb2 import *  # noqa: F403
    from orchestrator.api.v1.resources_pb2 import *  # noqa: F403
    from orchestrator.api.v1.review_pb2 import *  # noqa: F403
    from orchestrator.api.v1.runtime_class_pb2 import *  # noqa: F403
    from orchestrator.api.v1.scheduling_pb2 import *  # noqa: F403
    from orchestrator.api.v1.security_pb2 import *  # noqa: F403
    from orchestrator.api.v1.service_pb2 import *  # noqa: F403
    from orchestrator.api.v1.stateful_set_pb2 import *  # noqa: F403
    from orchestrator.api.v1.storage_pb2 import *  # noqa: F403
    from orchestrator.api.v1.streams_pb2 import *  # noqa: F403
    from orchestrator.api.v1.subresource_pb2 import *  # noqa: F403
    from orchestrator.api.v1.volume_claim_pb2 import *  # noqa: F403
    from orchestrator.api.v1.volume_pb2 import *  # noqa: F403
    from orchestrator.api.v1.volume_storage_pb2 import *  # noqa: F403
else:
    from google.protobuf import descriptor_pool
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
    from google.protobuf.message import Message
    from google.protobuf.reflection import GeneratedProtocolMessageType

    from orchestrator.api.v1 import descriptors_pb2

    _PACKAGE = "navarch.v1"
    _POOL = descriptor_pool.Default()
    for _file in descriptors_pb2.FILES:
        _POOL.AddSerializedFile(_file)

    def __getattr__(name: str) -> object:
        full_name = f"{_PACKAGE}.{name}"
        try:
            found = _message(full_name)
        except KeyError:
            try:
                found = EnumTypeWrapper(_POOL.FindEnumTypeByName(full_name))
            except KeyError:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
        globals()[name] = found
        return found

    def _message(full_name: str) -> type[Message]:
        descriptor = _POOL.FindMessageTypeByName(full_name)
        # As generated modules do it. GetMessageClass would make the classes of all fields too, and of their fields.
        members = {"DESCRIPTOR": descriptor, "__module__": __name__}
        return GeneratedProtocolMessageType(descriptor.name, (Message,), members)
