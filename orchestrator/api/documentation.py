"""What a message or field is for, in a sentence or two: the comments of the schema, for `explain` and OpenAPI.

protoc keeps comments out of the modules it generates; the build writes them beside those (`comments_pb2`). They are
read when somebody first asks.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor


def describe(descriptor: Descriptor | FieldDescriptor) -> str:
    """The comment on a message or a field; a field without one of its own has that of its message's type.

    Paragraphs are separated by an empty line. Empty when the schema says nothing.
    """
    from orchestrator.api.v1.comments_pb2 import COMMENTS

    text = COMMENTS.get(descriptor.full_name, "")
    if text or isinstance(descriptor, Descriptor) or descriptor.message_type is None:
        return text
    return COMMENTS.get(descriptor.message_type.full_name, "")
