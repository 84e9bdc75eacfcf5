"""The writes a batch can hold, and how they and single requests look on the wire.

Each operation is a small value that names what is to be done; `to_wire` turns it into the message the server takes.
Single calls use the same conversion, so a create means the same alone and in a batch.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.api.kinds import KubeObject, kind_of, wrap
from orchestrator.api.v1 import (
    Binding,
    CreateRequest,
    DeleteRequest,
    ObjectKey,
    ObjectMeta,
    ObjectReference,
    Operation,
    PatchRequest,
    Pod,
    UpdateRequest,
)
from orchestrator.api.v1 import PatchType as WirePatchType

# The server takes 3 MiB a request; the rest is room for the envelope.
MAX_BATCH_BYTES = 2 << 20
MAX_BATCH_OPERATIONS = 256


class PatchType(enum.Enum):
    """How a patch is to be read."""

    MERGE = WirePatchType.MERGE
    STRATEGIC = WirePatchType.STRATEGIC
    JSON = WirePatchType.JSON


# A patch as JSON data: an object for merges, a list of operations for JSON patches.
PatchBody = Mapping[str, object] | Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Create:
    obj: KubeObject

    def to_wire(self, *, dry_run: bool = False) -> Operation:
        return Operation(create=CreateRequest(object=wrap(self.obj), dry_run=dry_run))


@dataclass(frozen=True, slots=True)
class Update:
    """Replaces an object, or only its status with the subresource "status"."""

    obj: KubeObject
    subresource: str = ""

    def to_wire(self, *, dry_run: bool = False) -> Operation:
        request = UpdateRequest(object=wrap(self.obj), subresource=self.subresource, dry_run=dry_run)
        return Operation(update=request)


@dataclass(frozen=True, slots=True)
class Patch:
    kind: type[KubeObject]
    name: str
    patch: PatchBody
    namespace: str = ""
    type: PatchType = PatchType.MERGE
    subresource: str = ""

    def to_wire(self, *, dry_run: bool = False) -> Operation:
        request = PatchRequest(
            key=object_key(self.kind, self.name, self.namespace),
            type=self.type.value,
            patch=json.dumps(self.patch, separators=(",", ":")).encode(),
            subresource=self.subresource,
            dry_run=dry_run,
        )
        return Operation(patch=request)


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes an object. `uid` and `resource_version` are preconditions: with them, only this very one is meant."""

    kind: type[KubeObject]
    name: str
    namespace: str = ""
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    uid: str = ""
    resource_version: str = ""

    def to_wire(self, *, dry_run: bool = False) -> Operation:
        request = DeleteRequest(
            key=object_key(self.kind, self.name, self.namespace),
            grace_period_seconds=self.grace_period_seconds,
            propagation_policy=self.propagation_policy,
            uid=self.uid,
            resource_version=self.resource_version,
            dry_run=dry_run,
        )
        return Operation(delete=request)


@dataclass(frozen=True, slots=True)
class Bind:
    """Puts a pod on a node; a Conflict when it has one. The uid says which pod of that name was meant."""

    pod: Pod
    node_name: str

    def to_wire(self, *, dry_run: bool = False) -> Operation:
        metadata = self.pod.metadata
        binding = Binding(
            metadata=ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
            target=ObjectReference(api_version="v1", kind="Node", name=self.node_name),
        )
        request = CreateRequest(object=wrap(binding), subresource="binding", dry_run=dry_run)
        return Operation(create=request)


AnyOperation = Create | Update | Patch | Delete | Bind


def object_key(kind: type[KubeObject], name: str, namespace: str) -> ObjectKey:
    return ObjectKey(resource=kind_of(kind).resource, namespace=namespace, name=name)


def chunks(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """The operations in order, in pieces that fit a request. One that is too large alone gets a piece of its own."""
    chunk: list[Operation] = []
    size = 0
    for operation in operations:
        length = operation.ByteSize()
        if chunk and (size + length > MAX_BATCH_BYTES or len(chunk) == MAX_BATCH_OPERATIONS):
            yield chunk
            chunk, size = [], 0
        chunk.append(operation)
        size += length
    if chunk:
        yield chunk
