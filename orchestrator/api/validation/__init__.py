"""Is this object allowed? Its faults all at once, but not hundreds, each with its path, in Kubernetes' wording.

`validate` looks at one object, after defaults; `validate_update` at a change from one to the next: what may not change;
`validate_status` at what a component reports. All are pure, and an update must pass the first two. What depends on
other objects (a free node port, an existing namespace) is not decided here.

Each kind's rules are in the file of its group. They are generators of faults over (message, path), so that a Pod and
the template of a Deployment share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import cast

from orchestrator.api import names
from orchestrator.api.errors import FieldError, not_supported, required
from orchestrator.api.kinds import K, KubeObject, as_message, kind_of
from orchestrator.api.names import NameRule
from orchestrator.api.v1 import (
    Binding,
    CertificateSigningRequest,
    ClusterRole,
    ClusterRoleBinding,
    ConfigMap,
    ControllerRevision,
    CronJob,
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    DaemonSet,
    Deployment,
    Endpoints,
    EndpointSlice,
    Event,
    Eviction,
    HorizontalPodAutoscaler,
    Ingress,
    IngressClass,
    Job,
    Lease,
    LimitRange,
    LocalSubjectAccessReview,
    Namespace,
    NetworkPolicy,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PodTemplate,
    PriorityClass,
    ReplicaSet,
    ReplicationController,
    ResourceQuota,
    Role,
    RoleBinding,
    RuntimeClass,
    Scale,
    Secret,
    SelfSubjectAccessReview,
    SelfSubjectReview,
    SelfSubjectRulesReview,
    Service,
    ServiceAccount,
    StatefulSet,
    StorageClass,
    SubjectAccessReview,
    TokenRequest,
    TokenReview,
    VolumeAttachment,
)
from orchestrator.api.validation import (
    apps,
    attachment,
    autoscaling,
    batch,
    certificates,
    claim,
    config,
    coordination,
    daemon_set,
    discovery,
    endpoints,
    event,
    ingress,
    meta,
    namespace,
    network_policy,
    node,
    persistent_volume,
    pod,
    policy,
    quota,
    rbac,
    replication,
    review,
    runtime_class,
    service,
    stateful_set,
    storage,
)
from orchestrator.api.validation.wellformed import wellformed

Faults = Iterator[FieldError]

MAX_FAULTS = 50


@dataclass(frozen=True, slots=True)
class _Rules:
    """What is asked of objects of one kind."""

    check: Callable[[KubeObject], Faults]
    check_update: Callable[[KubeObject, KubeObject], Faults]
    name_rule: NameRule | None
    check_status: Callable[[KubeObject], Faults]


def validate(obj: KubeObject) -> list[FieldError]:
    """What is wrong with an object; empty when it may be stored."""
    rules = _RULES[type(obj)]
    identity: Faults = iter(())
    if rules.name_rule is not None:
        identity = meta.metadata(obj.metadata, namespaced=kind_of(obj).namespaced, name_rule=rules.name_rule)
    return _first(identity, rules.check(obj), wellformed(as_message(obj), ""))


def validate_update(new: K, old: K) -> list[FieldError]:
    """The changes that are not allowed. `new` must pass `validate` too."""
    return _first(meta.metadata_update(new.metadata, old.metadata), _RULES[type(new)].check_update(new, old))


def validate_status(obj: KubeObject) -> list[FieldError]:
    """What is wrong with the status that a component reports: amounts, addresses and times that are none."""
    return _first(_RULES[type(obj)].check_status(obj), wellformed(as_message(obj), ""))


def validate_status_update(new: K, old: K) -> list[FieldError]:
    """What a component may not change in a status any more. `new` must pass `validate_status` too."""
    if isinstance(new, CertificateSigningRequest) and isinstance(old, CertificateSigningRequest):
        return _first(certificates.signing_status_update(new.status, old.status))
    return []


def _first(*faults: Faults) -> list[FieldError]:
    """Rules are generators: what nobody wants to read is not looked for."""
    return list(islice(chain(*faults), MAX_FAULTS))


_RULES: dict[type[KubeObject], _Rules] = {}


def _nothing(obj: KubeObject) -> Faults:
    return iter(())


def _free(new: KubeObject, old: KubeObject) -> Faults:
    return iter(())


def _kind(
    message: type[K],
    check: Callable[[K], Faults] = _nothing,
    update: Callable[[K, K], Faults] = _free,
    name: NameRule | None = names.subdomain,
    status: Callable[[K], Faults] = _nothing,
) -> None:
    """`name` is None for questions to the server, which have no name."""
    _RULES[message] = _Rules(
        cast(Callable[[KubeObject], Faults], check),
        cast(Callable[[KubeObject, KubeObject], Faults], update),
        name,
        cast(Callable[[KubeObject], Faults], status),
    )


def _binding(obj: Binding) -> Faults:
    if obj.target.kind not in {"", "Node"}:
        yield not_supported("target.kind", obj.target.kind, ["Node", "<empty>"])
    if not obj.target.name:
        yield required("target.name")


_kind(Pod, pod.pod, pod.pod_update, status=lambda obj: pod.pod_status(obj.status))
_kind(Node, node.node, node.node_update, status=lambda obj: node.node_status(obj.status))
_kind(Namespace, namespace.namespace, name=names.label)
_kind(
    Service,
    service.service,
    service.service_update,
    name=names.label_1035,
    status=lambda obj: service.service_status(obj.status),
)
_kind(ConfigMap, config.config_map, config.config_map_update)
_kind(Secret, config.secret, config.secret_update)
_kind(ServiceAccount)
_kind(Event, event.event)
_kind(EndpointSlice, discovery.endpoint_slice, discovery.endpoint_slice_update)
_kind(Endpoints, endpoints.endpoints)
_kind(Lease, coordination.lease)
_kind(
    ReplicationController,
    replication.replication_controller,
    status=lambda obj: replication.replication_controller_status(obj.status),
)
_kind(PodTemplate, replication.pod_template)
_kind(ReplicaSet, apps.replica_set, apps.replica_set_update)
_kind(Deployment, apps.deployment, apps.deployment_update)
_kind(
    StatefulSet,
    stateful_set.stateful_set,
    stateful_set.stateful_set_update,
    status=lambda obj: stateful_set.stateful_set_status(obj.status),
)
_kind(ControllerRevision, stateful_set.controller_revision, stateful_set.controller_revision_update)
_kind(
    DaemonSet,
    daemon_set.daemon_set,
    daemon_set.daemon_set_update,
    status=lambda obj: daemon_set.daemon_set_status(obj.status),
)
_kind(Job, batch.job, batch.job_update, status=lambda obj: batch.job_status(obj.status))
_kind(CronJob, batch.cron_job)
_kind(
    HorizontalPodAutoscaler,
    autoscaling.autoscaler,
    status=lambda obj: autoscaling.autoscaler_status(obj.status),
)
_kind(
    PodDisruptionBudget,
    policy.disruption_budget,
    status=lambda obj: policy.disruption_budget_status(obj.status),
)
_kind(PriorityClass, quota.priority_class, quota.priority_class_update)
_kind(
    ResourceQuota,
    quota.resource_quota,
    quota.resource_quota_update,
    status=lambda obj: quota.resource_quota_status(obj.status),
)
_kind(LimitRange, quota.limit_range)
_kind(PersistentVolume, persistent_volume.persistent_volume, persistent_volume.persistent_volume_update)
_kind(PersistentVolumeClaim, claim.claim, claim.claim_update, status=lambda obj: claim.claim_status(obj.status))
_kind(StorageClass, storage.storage_class, storage.storage_class_update)
_kind(VolumeAttachment, attachment.volume_attachment, attachment.volume_attachment_update)
_kind(CSIDriver, storage.csi_driver, storage.csi_driver_update)
_kind(CSINode, storage.csi_node, storage.csi_node_update)
_kind(CSIStorageCapacity, storage.csi_storage_capacity, storage.csi_storage_capacity_update)
_kind(Ingress, ingress.ingress, status=lambda obj: ingress.ingress_status(obj.status))
_kind(IngressClass, ingress.ingress_class, ingress.ingress_class_update)
_kind(NetworkPolicy, network_policy.network_policy)
_kind(Role, rbac.role, name=names.path_segment)
_kind(RoleBinding, rbac.role_binding, rbac.binding_update, name=names.path_segment)
_kind(ClusterRole, rbac.cluster_role, name=names.path_segment)
_kind(ClusterRoleBinding, rbac.cluster_role_binding, rbac.binding_update, name=names.path_segment)
_kind(
    CertificateSigningRequest,
    certificates.signing_request,
    certificates.signing_request_update,
    status=lambda obj: certificates.signing_status(obj.status),
)
_kind(RuntimeClass, runtime_class.runtime_class, runtime_class.runtime_class_update)
_kind(Binding, _binding)
_kind(Scale, apps.scale)
_kind(Eviction, review.eviction)
_kind(TokenRequest, review.token_request, name=None)
_kind(TokenReview, review.token_review, name=None)
_kind(SelfSubjectReview, name=None)
_kind(SubjectAccessReview, review.subject_access_review, name=None)
_kind(SelfSubjectAccessReview, review.self_subject_access_review, name=None)
_kind(LocalSubjectAccessReview, review.local_subject_access_review, name=None)
_kind(SelfSubjectRulesReview, name=None)
