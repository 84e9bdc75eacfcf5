"""What the query of a URL asks for: yes or no, numbers, and the requests of lists and watches. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from orchestrator.api import errors
from orchestrator.api.kinds import Kind
from orchestrator.api.v1 import ListRequest, WatchRequest
from orchestrator.server.listing import revision_of
from orchestrator.server.managing import UNKNOWN
from orchestrator.server.rest.tables import INCLUDES, Include

MAX_MANAGER: Final = 128
_TRUE = frozenset({"", "1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
_SECONDS = re.compile(r"[0-9]{1,9}")


def flag(query: Mapping[str, str], name: str) -> bool:
    """A yes or no. Raises BadRequest."""
    value = query.get(name)
    if value is None or value in _FALSE:
        return False
    if value in _TRUE:
        return True
    raise errors.BadRequest(f'invalid value "{value}" of the parameter {name}: must be true or false')


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number that is not negative; None when it is not given. Raises BadRequest."""
    value = query.get(name)
    if value is None or value == "":
        return None
    if not _SECONDS.fullmatch(value):
        raise errors.BadRequest(f'invalid value "{value}" of the parameter {name}: must be a number, 0 or greater')
    return int(value)


def is_dry_run(given: str) -> bool:
    """What `dryRun` asks for. Raises BadRequest: All is all there is."""
    if given in {"", "All"}:
        return given == "All"
    raise errors.BadRequest(f'invalid dryRun "{given}": supported values: "All"')


def field_manager(query: Mapping[str, str], user_agent: str) -> str:
    """Who changes: as the client says, or else its program's name. Raises BadRequest."""
    name = query.get("fieldManager", "")
    if len(name) > MAX_MANAGER or not name.isprintable():
        raise errors.BadRequest(f"invalid fieldManager: must be at most {MAX_MANAGER} printable characters")
    if name:
        return name
    program = user_agent.partition("/")[0]
    return "".join(filter(str.isprintable, program))[:MAX_MANAGER] or UNKNOWN


def include(query: Mapping[str, str]) -> Include:
    """How much of an object the row of a table carries. Raises BadRequest."""
    given = query.get("includeObject", "")
    if given not in INCLUDES:
        raise errors.BadRequest(f'invalid includeObject "{given}": supported values: "None", "Metadata", "Object"')
    return INCLUDES[given]


def list_request(kind: Kind, namespace: str, query: Mapping[str, str]) -> ListRequest:
    """What a list asks for. Raises BadRequest."""
    match = query.get("resourceVersionMatch", "")
    version = query.get("resourceVersion", "")
    limit = number(query, "limit") or 0
    token = query.get("continue", "")
    if match and match not in {"Exact", "NotOlderThan"}:
        raise errors.BadRequest(f'invalid resourceVersionMatch "{match}": supported values: "Exact", "NotOlderThan"')
    if match and not version:
        raise errors.BadRequest("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match and token:
        raise errors.BadRequest("resourceVersionMatch is forbidden when continue is provided")
    if match == "Exact" and version == "0":
        raise errors.BadRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')
    exact = match == "Exact" or (not match and limit > 0)
    revision_of(version)
    request = ListRequest(
        resource=kind.storage.resource,
        namespace=namespace,
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=limit,
        resource_version=version if exact and not token else "",
    )
    setattr(request, "continue", token)
    return request


def watch_request(kind: Kind, namespace: str, name: str, query: Mapping[str, str]) -> WatchRequest:
    """What a watch asks for; of one object, if `name` is given. Raises BadRequest."""
    version = query.get("resourceVersion", "")
    initial = query.get("sendInitialEvents")
    if initial is None and query.get("resourceVersionMatch"):
        raise errors.BadRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    if initial is not None and query.get("resourceVersionMatch") != "NotOlderThan":
        raise errors.BadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    selector = query.get("fieldSelector", "")
    if name:
        named = f"metadata.name={name}"
        selector = f"{selector},{named}" if selector else named
    return WatchRequest(
        resource=kind.storage.resource,
        namespace=namespace,
        label_selector=query.get("labelSelector", ""),
        field_selector=selector,
        resource_version="" if flag(query, "sendInitialEvents") else version,
        allow_bookmarks=flag(query, "allowWatchBookmarks"),
    )
