"""What the server has, as clients ask for it before anything else: groups, versions, resources and their verbs.

Derived from the kinds alone, so it is computed once. Two forms: the one that every client understands (a list of
groups, and a list of resources for each version), and the aggregated one that newer clients ask for with their Accept
header and that tells everything in one answer for each of /api and /apis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from orchestrator.api.kinds import Kind, served_kinds
from orchestrator.server.rest.paths import CONNECTED

Json: TypeAlias = dict[str, Any]

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_CREATED_ONLY = ("binding", "eviction", "token")
_SCALE = ("autoscaling", "v1", "Scale")
# Subresources whose bodies are of another kind than their object: group, version, kind.
BODIES: Mapping[str, tuple[str, str, str]] = {
    "scale": _SCALE,
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "proxy": ("", "v1", "PodProxyOptions"),
}


@cache
def versions() -> Json:
    """/api"""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    }


@cache
def groups() -> Json:
    """/apis"""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in _groups() if name]}


def group(name: str) -> Json | None:
    """/apis/GROUP; None: there is no such group."""
    if name not in _groups() or not name:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}


@cache
def resources(group: str, version: str) -> Json | None:
    """/api/v1 or /apis/GROUP/VERSION; None: there is no such version."""
    kinds = _groups().get(group, {}).get(version)
    if kinds is None:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": [entry for kind in kinds for entry in _resource_entries(kind)],
    }


@cache
def aggregated(core: bool, version: str) -> Json:
    """The aggregated form of /api (`core`) or /apis, for apidiscovery.k8s.io/`version`."""
    items = [_aggregated_group(name) for name in _groups() if bool(name) != core]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def verbs_of_kind(kind: Kind) -> Sequence[str]:
    """What can be done to a kind's objects."""
    return ("create",) if kind.transient else _VERBS


def verbs_of(subresource: str) -> Sequence[str]:
    """What can be done to a subresource."""
    if subresource in CONNECTED:
        return ("create", "get") if subresource != "proxy" else ("create", "delete", "get", "patch", "update")
    if subresource in _CREATED_ONLY:
        return ("create",)
    if subresource == "log":
        return ("get",)
    if subresource == "finalize":
        return ("update",)
    return ("get", "patch", "update")


@cache
def _groups() -> Mapping[str, Mapping[str, Sequence[Kind]]]:
    """Group -> version -> kinds, in the schema's order."""
    found: dict[str, dict[str, list[Kind]]] = {}
    for kind in served_kinds():
        if not kind.plural:
            continue
        found.setdefault(kind.group, {}).setdefault(kind.version, []).append(kind)
    return found


def _group(name: str) -> Json:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resource_entries(kind: Kind) -> Iterable[Json]:
    entry: Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(verbs_of_kind(kind)),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    entry["storageVersionHash"] = hashlib.sha256(f"{kind.api_version}/{kind.kind}".encode()).hexdigest()[:16]
    yield entry
    for subresource in kind.subresources:
        group, version, name = BODIES.get(subresource, (kind.group, kind.version, kind.kind))
        part: Json = {
            "name": f"{kind.plural}/{subresource}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": name,
            "verbs": list(verbs_of(subresource)),
        }
        if (group, version) != (kind.group, kind.version):
            part["group"], part["version"] = group, version
        yield part


def _aggregated_group(name: str) -> Json:
    return {
        "metadata": {"name": name, "creationTimestamp": None},
        "versions": [
            {"version": version, "resources": [_aggregated_resource(kind) for kind in kinds], "freshness": "Current"}
            for version, kinds in _groups()[name].items()
        ],
    }


def _aggregated_resource(kind: Kind) -> Json:
    entry: Json = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(verbs_of_kind(kind)),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [_aggregated_subresource(kind, each) for each in kind.subresources]
    return entry


def _aggregated_subresource(kind: Kind, subresource: str) -> Json:
    group, version, name = BODIES.get(subresource, (kind.group, kind.version, kind.kind))
    return {
        "subresource": subresource,
        "responseKind": {"group": group, "version": version, "kind": name},
        "verbs": list(verbs_of(subresource)),
    }
