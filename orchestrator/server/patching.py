"""Patches as requests carry them: parsed, applied to the object as a client sees it, and read back strictly typed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from orchestrator.api import errors
from orchestrator.api.codec import from_json, to_json
from orchestrator.api.kinds import KubeObject
from orchestrator.api.patch import json_patch, merge_patch, strategic_merge_patch
from orchestrator.api.v1 import PatchType

_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_patch(patch: bytes) -> object:
    """The patch's document. Raises BadRequest."""
    try:
        text = patch.decode()
        body: object = json.loads(text)
        if _HALF_CHARACTER.search(text):
            # An escape may name half of a surrogate pair: no text that could be stored, or shown in an error.
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise errors.BadRequest(f"the patch is not valid JSON: {error}") from error
    return body


def patched(shown: KubeObject, patch_type: PatchType.ValueType, body: object) -> tuple[KubeObject, Sequence[str]]:
    """`shown` with a patch applied, and warnings. Raises BadRequest, Invalid."""
    try:
        return _patched(shown, patch_type, body)
    except RecursionError as error:
        raise errors.BadRequest("the patch is nested too deeply") from error


def _patched(shown: KubeObject, patch_type: PatchType.ValueType, body: object) -> tuple[KubeObject, Sequence[str]]:
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
    decoded = from_json(result, unknown="warn")
    return decoded.obj, decoded.warnings


def _mapping(body: object) -> dict[str, object]:
    if not isinstance(body, dict):
        raise errors.BadRequest("a merge patch must be a JSON object")
    return body
