"""Server-side apply of one configuration: reading it, and what it makes of the object that is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from orchestrator.api import errors
from orchestrator.api.apply import Manager, apply
from orchestrator.api.apply.managers import APPLY
from orchestrator.api.codec import JsonObject, from_json, to_json, unknown_fields
from orchestrator.api.decoding import describe
from orchestrator.api.kinds import Kind, KubeObject
from orchestrator.api.manifest import read_value
from orchestrator.api.v1 import PatchRequest
from orchestrator.server.keys import Key

KUBECTL = "kubectl"
"""The manager whose applies from the client's side are known by their annotation."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def read_config(key: Key, request: PatchRequest) -> JsonObject:
    """The configuration, checked to be about this object. Raises BadRequest."""
    if not request.field_manager:
        raise errors.BadRequest("fieldManager is required for apply patch")
    try:
        data = read_value(request.patch.decode(), "the patch")
    except UnicodeDecodeError as error:
        raise errors.BadRequest(f"the patch is not UTF-8: {error}") from error
    if not isinstance(data, dict):
        raise errors.BadRequest(f"an apply patch must be an object, not {describe(data)}")
    kind = key.kind
    if (data.get("apiVersion"), data.get("kind")) != (kind.api_version, kind.kind):
        raise errors.BadRequest(
            f"the patch is of {data.get('apiVersion')}, Kind={data.get('kind')}, the object of {kind.api_version}, "
            f"Kind={kind.kind}"
        )
    meta = data.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise errors.BadRequest(f"metadata: must be an object, not {describe(meta)}")
    if meta.get("managedFields"):
        raise errors.BadRequest("metadata.managedFields must be nil")
    for name, value in (("name", key.name), ("namespace", key.namespace)):
        if meta.get(name) not in (None, "", value):
            raise errors.BadRequest(
                f"the {name} of the patch ({meta[name]}) does not match that of the request ({value})"
            )
        if value:
            meta[name] = value
    return data


def applied(
    kind: Kind, old: KubeObject | None, config: JsonObject, request: PatchRequest, now: datetime
) -> tuple[KubeObject, Sequence[str]]:
    """The object that applying makes of `old` (None: of nothing), with its account, and warnings.

    Raises Conflict, BadRequest.
    """
    unknown = unknown_fields(request.field_validation)
    # The configuration as the schema reads it: numbers and quantities in the form in which they are compared.
    read = from_json(config, unknown=unknown)
    live = to_json(old) if old is not None else None
    if live is not None:
        live["metadata"].pop("managedFields", None)
    wanted = _as_given(to_json(read.obj), config)
    wanted["metadata"].pop("resourceVersion", None)
    entries = list(old.metadata.managed_fields) if old is not None else []
    manager = Manager(request.field_manager, APPLY, kind.api_version, request.subresource)
    last = _last_applied(live) if request.field_manager == KUBECTL else None
    result = apply(kind.descriptor, live, wanted, entries, manager, now=now, force=request.force, last_applied=last)
    new = from_json(result.data, unknown="ignore").obj
    new.metadata.managed_fields.extend(result.managed)
    given = config["metadata"].get("resourceVersion")
    if given:
        new.metadata.resource_version = str(given)
    return new, read.warnings


def _last_applied(live: JsonObject | None) -> JsonObject | None:
    """What kubectl has applied from its side, which it notes in an annotation."""
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _as_given(shown: Any, config: object) -> Any:
    """What the object shows of the configuration, without fields that are shown although nobody has given them."""
    if isinstance(shown, dict) and isinstance(config, dict):
        return {name: _as_given(value, config[name]) for name, value in shown.items() if name in config}
    if isinstance(shown, list) and isinstance(config, list) and len(shown) == len(config):
        return [_as_given(value, given) for value, given in zip(shown, config, strict=True)]
    return shown
