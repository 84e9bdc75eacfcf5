"""What the schema says about messages, fields and services: their options, which fields are maps, which are kinds."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from orchestrator.api.v1 import Object, options_pb2

PACKAGE = Object.DESCRIPTOR.file.package


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    return cast(Descriptor, message.DESCRIPTOR)


def map_value(each: FieldDescriptor) -> FieldDescriptor | None:
    """For a map field, the field that its values have in the entries."""
    entry = each.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["value"]


def option(each: FieldDescriptor, extension: Any) -> Any:
    """The value of one of the schema's own field options (options.proto); its zero value where it isn't given."""
    return each.GetOptions().Extensions[extension]


def list_field(descriptor: Descriptor) -> FieldDescriptor | None:
    """For a message whose JSON form is a list: the field that holds the list."""
    return descriptor.fields[0] if descriptor.GetOptions().Extensions[options_pb2.as_list] else None


def names_its_kind(descriptor: Descriptor) -> tuple[str, str] | None:
    """The apiVersion and kind that the JSON form of a message shows; None for a message that is no kind."""
    options = descriptor.GetOptions()
    if not options.HasExtension(options_pb2.resource):
        return None
    resource = options.Extensions[options_pb2.resource]
    return f"{resource.group}/{resource.version}" if resource.group else resource.version, resource.kind


def service(name: str) -> ServiceDescriptor:
    """A service of the schema: "Resources", "PodStreams"."""
    return descriptor_pool.Default().FindServiceByName(f"{PACKAGE}.{name}")
