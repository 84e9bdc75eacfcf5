"""Bodies that mean harm: bombs, depths, sizes, numbers and texts that are none. Refused early, and nothing changes."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from orchestrator.server.rest.kubernetes_protobuf import MAGIC
from tests.integration.fuzz.raw_http import request
from tests.integration.fuzz.subject import Subject, resident_bytes

MAPS = "/api/v1/namespaces/default/configmaps"
REVISIONS = "/apis/apps/v1/namespaces/default/controllerrevisions"
PODS = "/api/v1/namespaces/default/pods"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
QUICK = 6.0
"""Seconds for a refusal on a machine that does other things as well."""


def config_map(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, **more}


def revision(data: str) -> bytes:
    head = '{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"a"},"revision":1,"data":'
    return (head + data + "}").encode()


def laughs(levels: int) -> bytes:
    """Each line stands for nine of the line before."""
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" + "\n".join(lines)).encode()


def long_laugh() -> bytes:
    """One long text, and a hundred thousand aliases of it."""
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata: {name: a}", "data:", f"  a: &a {'x' * 1_000_000}"]
    return "\n".join((*lines, *(f"  b{n}: *a" for n in range(100_000)))).encode()


def protobuf(content: bytes) -> bytes:
    named = b"\x0a\x02v1\x12\x09ConfigMap"
    return MAGIC + bytes((0x0A, len(named))) + named + content


def nested_protobuf(depth: int) -> bytes:
    content = b""
    for _ in range(depth):
        size = len(content)
        length = bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7 & 127 | 128, size >> 14))
        content = b"\x0a" + length + content
    return content


REFUSED: dict[str, tuple[int, str, bytes]] = {
    "billion laughs": (400, YAML, laughs(12)),
    "a long laugh": (400, YAML, long_laugh()),
    "an alias of itself": (400, YAML, b"a: &a [*a]"),
    "YAML of depth 10,000": (400, YAML, b"[" * 10_000),
    "YAML blocks of depth 1,000": (400, YAML, b"\n".join(b" " * n + b"a:" for n in range(1000))),
    "YAML merged with itself": (400, YAML, b"a: &a {b: c, <<: *a}"),
    "a YAML tag of Python's": (400, YAML, b"!!python/object/apply:os.system ['true']"),
    "two YAML documents": (400, YAML, b"a: 1\n---\na: 2\n"),
    "a YAML key given twice": (400, YAML, b"kind: ConfigMap\nkind: ConfigMap\n"),
    "a YAML number without end": (400, YAML, b"apiVersion: apps/v1\nkind: ControllerRevision\ndata: {a: 1e999999}"),
    "JSON of depth 10,000": (400, "application/json", b"[" * 10_000 + b"]" * 10_000),
    "JSON objects of depth 10,000": (400, "application/json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "JSON of depth 10,000 in a field": (400, "application/json", revision('{"a":' * 10_000 + "1" + "}" * 10_000)),
    "JSON of depth 50 in a field": (400, "application/json", revision('{"a":' * 50 + "1" + "}" * 50)),
    "1e999999": (400, "application/json", revision('{"a":1e999999}')),
    "NaN": (400, "application/json", revision('{"a":NaN}')),
    "-Infinity": (400, "application/json", revision('{"a":-Infinity}')),
    "a number of 10,000 digits": (400, "application/json", revision('{"a":' + "9" * 10_000 + "}")),
    "a key given twice": (400, "application/json", b'{"kind":"ConfigMap","kind":"ConfigMap"}'),
    "half a character": (400, "application/json", rb'{"kind":"\ud800"}'),
    "half a character deep inside": (400, "application/json", revision(r'{"a":["\udfff"]}')),
    "UTF-16": (400, "application/json", json.dumps(config_map()).encode("utf-16")),
    "not UTF-8": (400, "application/json", b'{"kind":"\xff\xfe"}'),
    "overlong UTF-8": (400, "application/json", b'{"kind":"\xc0\x80"}'),
    "not UTF-8 in YAML": (400, YAML, b"kind: \xff"),
    "a NUL in YAML": (400, YAML, b"kind: a\0"),
    "nothing": (400, "application/json", b""),
    "a list": (400, "application/json", b"[]"),
    "a kind that is an object": (400, "application/json", json.dumps(config_map(kind={"a": ["x"] * 99_999})).encode()),
    "a name of signs": (422, "application/json", json.dumps(config_map(metadata={"name": "a\n\0%..é"})).encode()),
    "a name too long": (422, "application/json", json.dumps(config_map(metadata={"name": "x" * 100_000})).encode()),
    "data too large": (422, "application/json", json.dumps(config_map(data={"a": "x" * 2_900_000})).encode()),
    "an object too large": (413, "application/json", revision(json.dumps({"a": "x" * 2_900_000}))),
    "a form": (415, "multipart/form-data; boundary=x", b"--x--"),
    "protobuf without its beginning": (400, PROTOBUF, b"\x0a\x00"),
    "protobuf of a wrong length": (400, PROTOBUF, protobuf(b"\x12\xff\xff\xff\xff\x0f")),
    "protobuf of a length that is none": (400, PROTOBUF, protobuf(b"\x12" + b"\xff" * 20)),
    "protobuf of another wire type": (400, PROTOBUF, MAGIC + b"\x0d\x01\x02\x03\x04"),
    "protobuf of depth 10,000": (400, PROTOBUF, protobuf(b"\x12\xb0\xea\x01" + nested_protobuf(10_000)[:30_000])),
    "protobuf with a text that is none": (400, PROTOBUF, protobuf(b"\x12\x06\x0a\x04\x0a\x02\xff\xfe")),
    "protobuf of a kind that is none": (400, PROTOBUF, MAGIC + b"\x0a\x0b\x0a\x02v1\x12\x05\xff\xfe/..\x12\x00"),
}


@pytest.fixture
async def asked(subject: Subject) -> Subject:
    """The server, with an object that must stay as it is."""
    made = await subject.rest(request("POST", MAPS, json.dumps(config_map(data={"x": "1"})).encode()))
    assert made is not None
    assert made.status == 201
    return subject


async def test_bodies_are_refused_early_and_change_nothing(asked: Subject) -> None:
    before, contents = asked.revision, await asked.contents()
    for case, (status, content_type, body) in REFUSED.items():
        path = REVISIONS if b"ControllerRevision" in body else MAPS
        for method, target in (("POST", path), ("PUT", f"{path}/a")):
            begun = time.monotonic()
            reply = await asked.rest(request(method, target, body, Content_Type=content_type))
            assert reply is not None, case
            # What is put under a name must be of that name, which is seen first.
            assert reply.status == status or (method == "PUT" and reply.status in {400, 404}), (case, reply.body[:300])
            assert json.loads(reply.body)["kind"] == "Status", case
            assert len(reply.body) < 300_000, case
            assert time.monotonic() - begun < QUICK, case
    assert (asked.revision, await asked.contents()) == (before, contents)


async def test_others_are_answered_while_a_bomb_is_taken_apart(asked: Subject) -> None:
    bomb = request("POST", MAPS, b"[" + b"a," * 300_000 + b"]", Content_Type=YAML)
    hostile = await asked.connect()
    exploding = asyncio.ensure_future(hostile.exchange(bomb))
    waits = []
    while not exploding.done():
        begun = time.monotonic()
        reply = await asked.rest(request("GET", f"{MAPS}/a"))
        assert reply is not None
        assert reply.status == 200
        waits.append(time.monotonic() - begun)
    answered = exploding.result()
    assert answered is not None
    assert answered.status == 400
    assert len(waits) > 3
    hostile.abort()


PATCHES: dict[str, tuple[int, str, Any]] = {
    "doubling by copy": (
        413,
        "application/json-patch+json",
        [{"op": "copy", "from": "/data", "path": f"/data/{n}"} for n in range(40)],
    ),
    "ten thousand operations": (413, "application/json-patch+json", [{"op": "test", "path": "", "value": 1}] * 10_001),
    "as many as are taken, the last of which fails": (
        422,
        "application/json-patch+json",
        [{"op": "add", "path": "/data/y", "value": "2"}] * 9_999 + [{"op": "test", "path": "/data/x", "value": "2"}],
    ),
    "moved ever deeper": (
        400,
        "application/json-patch+json",
        [{"op": "add", "path": "/data/a", "value": {}}, {"op": "add", "path": "/data/b", "value": {}}]
        + [
            step
            for _ in range(2400)
            for step in (
                {"op": "move", "from": "/data/a", "path": "/data/b/a"},
                {"op": "add", "path": "/data/a", "value": {}},
                {"op": "move", "from": "/data/b", "path": "/data/a/b"},
                {"op": "add", "path": "/data/b", "value": {}},
            )
        ],
    ),
    "a value into itself": (422, "application/json-patch+json", [{"op": "move", "from": "/data", "path": "/data/a"}]),
    "an index that is none": (
        422,
        "application/json-patch+json",
        [{"op": "add", "path": "/metadata/finalizers/99999999999999999999", "value": "a/b"}],
    ),
    "beyond the size of its data": (422, "application/merge-patch+json", {"data": {"a": "x" * 2_900_000}}),
    "a merge of depth 10,000": (400, "application/merge-patch+json", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "a merge of depth 150": (400, "application/merge-patch+json", b'{"a":' * 150 + b"1" + b"}" * 150),
    "a directive that is none": (400, "application/strategic-merge-patch+json", {"$patch": "explode"}),
    "keys to be kept, by the hundred thousand": (
        400,
        "application/strategic-merge-patch+json",
        {"data": {**{f"k{n}": "" for n in range(60_000)}, "$retainKeys": [f"k{n}" for n in range(60_000)], "x": 1}},
    ),
    "NaN": (400, "application/merge-patch+json", b'{"data":{"a":NaN}}'),
    "a number without end": (400, "application/merge-patch+json", b'{"data":{"a":1e999999}}'),
    "an apply of a bomb": (400, "application/apply-patch+yaml", laughs(12)),
    "an apply of a long laugh": (400, "application/apply-patch+yaml", long_laugh()),
    "an apply whose name is a list": (
        400,
        "application/apply-patch+yaml",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ["a"]}},
    ),
    "an apply with an account": (
        400,
        "application/apply-patch+yaml",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": [{"manager": "x"}]}},
    ),
    "another form": (415, "application/xml", b"<a/>"),
}


async def test_patches_are_refused_and_change_nothing(asked: Subject) -> None:
    before, contents = asked.revision, await asked.contents()
    for case, (status, content_type, body) in PATCHES.items():
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        begun = time.monotonic()
        reply = await asked.rest(request("PATCH", f"{MAPS}/a?fieldManager=me", raw, Content_Type=content_type))
        assert reply is not None, case
        assert reply.status == status, (case, reply.body[:300])
        assert time.monotonic() - begun < QUICK, case
    assert (asked.revision, await asked.contents()) == (before, contents)


async def test_an_apply_of_the_same_item_twice_is_refused(asked: Subject) -> None:
    before = asked.revision
    container = {"name": "c", "image": "registry.test/web:v1"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container, container]}}
    raw = json.dumps(pod).encode()
    path = f"{PODS}/p?fieldManager=me"
    reply = await asked.rest(request("PATCH", path, raw, Content_Type="application/apply-patch+yaml"))
    assert reply is not None
    assert reply.status in {400, 422}, reply.body
    assert asked.revision == before


async def test_a_damaged_account_of_managers_is_left_out(asked: Subject) -> None:
    trees: tuple[Any, ...] = (
        {"k:{": {}},
        {"v:": {}},
        {"x": {}},
        {"f:a": 1},
        {"f:a": {"i:x": {}}},
        {"": {}},
        {"k:[]": {}},
    )
    for tree in trees:
        entry = {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": tree}
        body = json.dumps(config_map(metadata={"name": "a", "managedFields": [entry]}, data={"x": str(tree)})).encode()
        reply = await asked.rest(request("PUT", f"{MAPS}/a", body))
        assert reply is not None
        assert reply.status == 200, reply.body
        kept = json.loads(reply.body)["metadata"]["managedFields"]
        assert [each["manager"] for each in kept] == ["unknown"]
        applied = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": {"y": "1"}}).encode()
        content = "application/apply-patch+yaml"
        path = f"{MAPS}/a?fieldManager=me&force=true&dryRun=All"
        after = await asked.rest(request("PATCH", path, applied, Content_Type=content))
        assert after is not None
        assert after.status == 200, after.body


async def test_owners_in_a_circle_are_only_stored(asked: Subject) -> None:
    """As in Kubernetes: who owns whom is the garbage collector's matter."""
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "1"}]
    body = json.dumps(config_map(metadata={"name": "a", "ownerReferences": owners})).encode()
    reply = await asked.rest(request("PUT", f"{MAPS}/a", body))
    assert reply is not None
    assert reply.status == 200


SIZE = 100 << 20


async def test_a_hundred_megabytes_are_refused_by_the_head(asked: Subject) -> None:
    """Nothing of the body has to be sent, and what is sent all the same is not kept."""
    before, memory = asked.revision, resident_bytes()
    connection = await asked.connect()
    head = f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {SIZE}\r\n\r\n"
    async with asyncio.timeout(QUICK):
        reply = await connection.exchange(head.encode())
    assert reply is not None
    assert reply.status == 413
    assert json.loads(reply.body)["message"] == "Request entity too large: limit is 3145728"
    connection.abort()
    assert (asked.revision, resident_bytes() - memory < 50 << 20) == (before, True)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_hundred_megabytes_that_come_nevertheless(asked: Subject, chunked: bool) -> None:
    memory = resident_bytes()
    connection = await asked.connect()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    head = f"POST {MAPS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    piece = b"x" * (1 << 20)
    sent = 0

    async def send() -> None:
        nonlocal sent
        connection.writer.write(head.encode())
        try:
            while sent < SIZE:
                connection.writer.write(b"100000\r\n" + piece + b"\r\n" if chunked else piece)
                await connection.writer.drain()
                sent += len(piece)
        except ConnectionError:
            return

    sending = asyncio.create_task(send())
    async with asyncio.timeout(30):
        reply = await connection.read()
        assert reply.status == 413
        await asyncio.wait((sending,))
    connection.abort()
    assert resident_bytes() - memory < 60 << 20


async def test_compressed_bodies_are_not_taken(asked: Subject) -> None:
    bomb = gzip.compress(b"\0" * (50 << 20))
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x"):
        reply = await asked.rest(request("POST", MAPS, bomb, Content_Encoding=encoding))
        assert reply is not None
        assert reply.status == 415, encoding
    plain = await asked.rest(
        request("PUT", f"{MAPS}/a", json.dumps(config_map()).encode(), Content_Encoding="identity")
    )
    assert plain is not None
    assert plain.status == 200


async def test_a_client_that_waits_to_be_told_to_send_is_told(asked: Subject) -> None:
    body = json.dumps(config_map(metadata={"name": "told"})).encode()
    raw = request("POST", MAPS, body, Expect="100-continue")
    head = raw[: -len(body)]
    connection = await asked.connect()
    connection.writer.write(head)
    assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    reply = await connection.exchange(body)
    assert reply is not None
    assert reply.status == 201
    connection.abort()
