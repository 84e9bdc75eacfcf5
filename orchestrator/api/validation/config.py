"""ConfigMaps and Secrets: keys that can be file names, a bounded size, and nothing changed once immutable."""

from __future__ import annotations

import json

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, required, too_long
from orchestrator.api.v1 import ConfigMap, Secret
from orchestrator.api.validation.rules import Faults, immutable, named

SIZE_LIMIT = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"
_TOKEN_ACCOUNT = "kubernetes.io/service-account.name"
# The keys a type promises.
_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_TYPES = frozenset({"kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"})


def config_map(obj: ConfigMap) -> Faults:
    for key in sorted(obj.data):
        path = f"data[{key}]"
        yield from named(names.config_key, path, key)
        if key in obj.binary_data:
            yield invalid(path, key, "duplicate of key present in binaryData")
    for key in sorted(obj.binary_data):
        yield from named(names.config_key, f"binaryData[{key}]", key)
    size = sum(len(text.encode()) for text in obj.data.values()) + sum(map(len, obj.binary_data.values()))
    if size > SIZE_LIMIT:
        yield too_long("[]", SIZE_LIMIT)  # both maps together; Kubernetes writes it so


def config_map_update(new: ConfigMap, old: ConfigMap) -> Faults:
    if not old.immutable:
        return
    if not new.immutable:
        yield forbidden("immutable", _FROZEN)
    if new.data != old.data:
        yield forbidden("data", _FROZEN)
    if new.binary_data != old.binary_data:
        yield forbidden("binaryData", _FROZEN)


def secret(obj: Secret) -> Faults:
    for key in sorted(obj.data):
        yield from named(names.config_key, f"data[{key}]", key)
    if sum(map(len, obj.data.values())) > SIZE_LIMIT:
        yield too_long("data", SIZE_LIMIT)
    for key in _KEYS.get(obj.type, ()):
        if key not in obj.data:
            yield required(f"data[{key}]")
        elif obj.type in _JSON_TYPES:
            yield from _json(f"data[{key}]", obj.data[key])
    if obj.type == "kubernetes.io/basic-auth" and not {"username", "password"} & set(obj.data):
        yield required("data[username]")
        yield required("data[password]")
    if obj.type == "kubernetes.io/service-account-token" and not obj.metadata.annotations.get(_TOKEN_ACCOUNT):
        yield required(f"metadata.annotations[{_TOKEN_ACCOUNT}]")


def secret_update(new: Secret, old: Secret) -> Faults:
    yield from immutable("type", new.type, old.type)
    if not old.immutable:
        return
    if not new.immutable:
        yield forbidden("immutable", _FROZEN)
    if new.data != old.data:
        yield forbidden("data", _FROZEN)


def _json(path: str, value: bytes) -> Faults:
    try:
        json.loads(value)
    except ValueError:
        # The content is a secret and stays out of the message.
        yield invalid(path, "<secret contents redacted>", "must be valid JSON")
