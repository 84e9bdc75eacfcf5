"""What is stored, as people read it."""

from __future__ import annotations

import pytest

from cli.commands.store import size
from cli.store_values import described, hex_dump, readable
from orchestrator.api.kinds import wrap
from orchestrator.api.v1 import ObjectMeta, Pod
from orchestrator.store import KeyValue

POD = wrap(Pod(metadata=ObjectMeta(name="web", namespace="default"))).SerializeToString()


def item(key: str, value: bytes) -> KeyValue:
    return KeyValue(key, value, 3, 7)


def test_an_object_is_a_document_with_its_version() -> None:
    shown = readable(item("/pods/default/web", POD))
    assert isinstance(shown, dict)
    assert (shown["kind"], shown["apiVersion"]) == ("Pod", "v1")
    assert shown["metadata"] == {"name": "web", "namespace": "default", "resourceVersion": "7"}


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("/allocations/clusterip/10.96.0.9", b"default/web", "default/web"),
        ("/allocations/nodeport/30000", b"", ""),
        ("/notes", b"ein Lied\nzwei", "ein Lied\nzwei"),
        ("/notes", b"\xff\xfe\x00", "//4A"),
        ("/notes", b"\x00\x01", "AAE="),
        ("/pods/default/web", POD[:5], None),
        ("/nodes//n1", POD, None),
    ],
    ids=["text", "empty", "lines", "no text", "control characters", "cut short", "another kind's key"],
)
def test_anything_else_is_text_or_base64(key: str, value: bytes, shown: str | None) -> None:
    found = readable(item(key, value))
    assert isinstance(found, str)
    assert shown is None or found == shown


def test_a_key_is_described_with_what_the_store_knows() -> None:
    assert described(item("/notes", b"ab"), "ab") == {
        "key": "/notes",
        "createRevision": 3,
        "modRevision": 7,
        "lease": 0,
        "size": 2,
        "value": "ab",
    }


def test_hex() -> None:
    assert hex_dump(b"") == ""
    assert hex_dump(b"Navarch\x00\xff and more of it").splitlines() == [
        "00000000  4e 61 76 61 72 63 68 00 ff 20 61 6e 64 20 6d 6f  Navarch.. and mo",
        "00000010  72 65 20 6f 66 20 69 74                          re of it",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (20 << 20, "20 MiB"), (5 << 40, "5120 GiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
