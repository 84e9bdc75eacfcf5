"""What the schema says about fields: their options, and which are maps."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


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
