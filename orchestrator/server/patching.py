"""Applying a JSON document to an object: the three forms of patches, by the object's own JSON form."""

from __future__ import annotations

import json
from collections.abc import Sequence

from orchestrator.api import errors
from orchestrator.api.codec import Unknown, from_json, to_json
from orchestrator.api.kinds import KubeObject
from orchestrator.api.manifest import finite, refuse_constant, refuse_halves
from orchestrator.api.patch import json_patch, merge_patch, strategic_merge_patch
from orchestrator.api.v1 import PatchType


def parse_patch(patch: bytes) -> object:
    """The document in these bytes. Raises BadRequest."""
    try:
        text = patch.decode()
        body: object = json.loads(text, parse_constant=refuse_constant, parse_float=finite)
        refuse_halves(text, body)
    except (ValueError, RecursionError) as error:
        raise errors.BadRequest(f"the patch is not valid JSON: {error}") from error
    return body


def patched(
    shown: KubeObject, patch_type: PatchType.ValueType, body: object, unknown: Unknown = "warn"
) -> tuple[KubeObject, Sequence[str]]:
    """`shown` with a patch applied, and warnings. Raises BadRequest, Invalid."""
    try:
        return _patched(shown, patch_type, body, unknown)
    except RecursionError as error:
        raise errors.BadRequest("the patch is nested too deeply") from error


def _patched(
    shown: KubeObject, patch_type: PatchType.ValueType, body: object, unknown: Unknown
) -> tuple[KubeObject, Sequence[str]]:
    document = to_json(shown)
    match patch_type:
        case PatchType.JSON:
            if not isinstance(body, list):
                raise errors.BadRequest("a JSON patch must be a list of operations")
            result = json_patch(document, body)
        case PatchType.STRATEGIC:
            result = strategic_merge_patch(type(shown), document, _mapping(body))
        case _:
            result = merge_patch(document, _mapping(body))
    for name in ("apiVersion", "kind"):
        if result.get(name) != document[name]:
            raise errors.BadRequest(f"{name} can't be changed by a patch (from {document[name]} to {result.get(name)})")
    decoded = from_json(result, unknown=unknown)
    return decoded.obj, decoded.warnings


def _mapping(body: object) -> dict[str, object]:
    if not isinstance(body, dict):
        raise errors.BadRequest("a merge patch must be a JSON object")
    return body
