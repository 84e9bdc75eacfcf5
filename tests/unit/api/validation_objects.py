"""Objects to judge: made from their JSON form, with defaults, as the server does before it validates."""

from __future__ import annotations

from google.protobuf.json_format import ParseDict

from orchestrator.api.defaults import set_defaults
from orchestrator.api.kinds import K, as_message
from orchestrator.api.validation import validate

Json = dict[str, object]
META: Json = {"name": "web", "namespace": "default"}
LABEL_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def make(kind: type[K], data: Json) -> K:
    obj = kind()
    ParseDict({"metadata": META, **data}, as_message(obj))
    set_defaults(obj)
    return obj


def faults(kind: type[K], data: Json) -> list[str]:
    return [str(fault) for fault in validate(make(kind, data))]
