"""In which form a client wants its answer, by its Accept header.

    application/json                                      the object, or the list
    application/json;as=Table;g=meta.k8s.io;v=v1          rows for people
    application/json;as=PartialObjectMetadata;g=...;v=v1  names and labels only
    application/yaml                                      the object, or the list

The first entry that can be served wins; protobuf, which client libraries name beside JSON, is none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from orchestrator.api import errors

JSON: Final = "application/json"
YAML: Final = "application/yaml"
_ANY: Final = frozenset({"*/*", "application/*", ""})
_META_GROUP: Final = "meta.k8s.io"
_MOST_ENTRIES: Final = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """The media type, and which other shape of the answer: Table, PartialObjectMetadata(List), or none."""

    media_type: str = JSON
    shape: str = ""
    version: str = ""
    group: str = ""

    @property
    def content_type(self) -> str:
        if not self.shape:
            return self.media_type
        return f"{self.media_type};as={self.shape};g={self.group};v={self.version}"


class NotAcceptable(errors.ApiError):
    """The client accepts nothing that can be served."""

    reason = "NotAcceptable"
    http = 406


@lru_cache(maxsize=256)
def accepted(header: str, *, shapes: frozenset[str] = frozenset()) -> Wanted:
    """The form to answer in; `shapes` are those that this answer can have. Raises NotAcceptable."""
    if not header:
        return Wanted()
    for entry in header.split(",")[:_MOST_ENTRIES]:
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        media_type = JSON if media_type in _ANY else media_type
        if media_type not in {JSON, YAML} or options.get("q") in {"0", "0.0"}:
            continue
        shape = options.get("as", "")
        if not shape:
            return Wanted(media_type)
        if (
            shape in shapes
            and options.get("g", _META_GROUP) == _group_of(shape)
            and options.get("v", "v1") in _versions_of(shape)
        ):
            return Wanted(media_type, shape, options.get("v", "v1"), _group_of(shape))
    raise NotAcceptable("only the following media types are accepted: application/json, application/yaml")


def _group_of(shape: str) -> str:
    return "apidiscovery.k8s.io" if shape == "APIGroupDiscoveryList" else _META_GROUP


def _versions_of(shape: str) -> frozenset[str]:
    return _DISCOVERY_VERSIONS if shape == "APIGroupDiscoveryList" else _META_VERSIONS


_DISCOVERY_VERSIONS: Final = frozenset({"v2", "v2beta1"})
_META_VERSIONS: Final = frozenset({"v1", "v1beta1"})
