"""ConfigMaps and Secrets: keys, sizes, and what is frozen."""

from __future__ import annotations

import pytest

from orchestrator.api.v1 import ConfigMap, Secret
from orchestrator.api.validation import validate_update
from tests.unit.api.validation_objects import META, Json, faults, make

KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
MEBIBYTE = "A" * (1024 * 1024)


def test_config_map() -> None:
    assert faults(ConfigMap, {"data": {"a.b": "c", "d": MEBIBYTE[1:]}}) == []
    assert faults(ConfigMap, {"data": {"a b": "c"}}) == [f'data[a b]: Invalid value: "a b": {KEY_WORDS}']
    assert faults(ConfigMap, {"data": {"a": "b"}, "binaryData": {"a": "eA=="}}) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]
    assert faults(ConfigMap, {"data": {"a": "x", "b": MEBIBYTE}}) == [
        "[]: Too long: may not be more than 1048576 bytes"
    ]


SECRETS: dict[str, tuple[Json, list[str]]] = {
    "good": ({"data": {"a": "eA=="}}, []),
    "text": ({"stringData": {"a": "b"}}, []),
    "key": ({"stringData": {"..": "b"}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
    "size": ({"stringData": {"a": f"x{MEBIBYTE}"}}, ["data: Too long: may not be more than 1048576 bytes"]),
    "TLS": (
        {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}},
        ["data[tls.key]: Required value"],
    ),
    "registry password that is no JSON": (
        {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "top secret"}},
        ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": must be valid JSON'],
    ),
    "basic auth": (
        {"type": "kubernetes.io/basic-auth"},
        ["data[username]: Required value", "data[password]: Required value"],
    ),
    "token of nobody": (
        {"type": "kubernetes.io/service-account-token"},
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    ),
    "a type of one's own": ({"type": "example.com/x"}, []),
}


@pytest.mark.parametrize(("data", "expected"), SECRETS.values(), ids=SECRETS)
def test_secret(data: Json, expected: list[str]) -> None:
    assert faults(Secret, data) == expected


FROZEN = "Forbidden: field is immutable when `immutable` is set"
FROZEN_UPDATES: dict[str, tuple[Json, Json, list[str]]] = {
    "frozen": ({"data": {"a": "eA=="}}, {"data": {"a": "eA=="}, "immutable": True}, []),
    "while open": ({"data": {"a": "eA=="}, "immutable": False}, {"data": {}}, []),
    "again the same": (
        {"data": {"a": "eA=="}, "immutable": True},
        {"data": {"a": "eA=="}, "immutable": True, "metadata": {**META, "labels": {"a": "b"}}},
        [],
    ),
    "data": (
        {"data": {"a": "eA=="}, "immutable": True},
        {"data": {"a": "eQ=="}, "immutable": True},
        [f"data: {FROZEN}"],
    ),
    "thawed": ({"immutable": True}, {"immutable": False}, [f"immutable: {FROZEN}"]),
    "forgotten": ({"immutable": True, "data": {"a": "eA=="}}, {}, [f"immutable: {FROZEN}", f"data: {FROZEN}"]),
}


@pytest.mark.parametrize("kind", [ConfigMap, Secret])
@pytest.mark.parametrize(("old", "new", "expected"), FROZEN_UPDATES.values(), ids=FROZEN_UPDATES)
def test_frozen(kind: type[ConfigMap] | type[Secret], old: Json, new: Json, expected: list[str]) -> None:
    assert [str(fault) for fault in validate_update(make(kind, new), make(kind, old))] == expected


def test_the_type_of_a_secret_never_changes() -> None:
    found = validate_update(make(Secret, {"type": "example.com/x"}), make(Secret, {}))
    assert [str(fault) for fault in found] == ['type: Invalid value: "example.com/x": field is immutable']


def test_binary_data_is_frozen_too() -> None:
    old = make(ConfigMap, {"binaryData": {"a": "eA=="}, "immutable": True})
    new = make(ConfigMap, {"binaryData": {"a": "eQ=="}, "immutable": True})
    assert [str(fault) for fault in validate_update(new, old)] == [f"binaryData: {FROZEN}"]
