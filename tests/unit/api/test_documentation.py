"""The schema explains itself: comments are there at run time, for every message and most fields."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from orchestrator.api.documentation import describe
from orchestrator.api.kinds import served_kinds
from orchestrator.api.schema import map_value
from orchestrator.api.v1 import Container, Job, Object


def _messages(root: Descriptor, seen: dict[str, Descriptor]) -> dict[str, Descriptor]:
    if root.full_name not in seen and root.full_name.startswith("navarch."):
        seen[root.full_name] = root
        for each in root.fields:
            if each.message_type is not None and map_value(each) is None:
                _messages(each.message_type, seen)
    return seen


def test_every_message_says_what_it_is() -> None:
    missing = [name for name, message in _messages(Object.DESCRIPTOR, {}).items() if not describe(message)]
    assert missing == []
    for kind in served_kinds():
        text = describe(kind.descriptor)
        assert text[0].isupper() and text.endswith("."), kind


def test_fields_say_what_they_are_for() -> None:
    container = Container.DESCRIPTOR
    assert describe(container.fields_by_name["name"]) == "Unique within the pod."
    assert "IANA" not in describe(container.fields_by_name["ports"])
    # A field without a comment of its own has that of its type.
    assert describe(Job.DESCRIPTOR.fields_by_name["metadata"]) == "Identity and bookkeeping of an object."
    fields = [each for message in _messages(Object.DESCRIPTOR, {}).values() for each in message.fields]
    described = [each for each in fields if describe(each)]
    assert len(described) / len(fields) > 0.6
