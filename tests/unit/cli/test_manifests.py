"""Which documents `-f` means, and which objects and places they stand for."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli.failure import Failure
from cli.manifests import decode, read_documents
from orchestrator.api.manifest import Document, read_manifests

CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: NAME}}"


def write(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.replace("NAME", name))


def names(documents: list[Document]) -> list[str]:
    return [document.data["metadata"]["name"] for document in documents]


def test_files_folders_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, name in (("b.yaml", "b"), ("a.json", "a"), ("c.yml", "c"), ("deep/d.yaml", "d"), ("e.txt", "e")):
        write(tmp_path / file, name)
    monkeypatch.setattr("sys.stdin", io.StringIO(CONFIG.replace("NAME", "in")))
    assert names(read_documents([str(tmp_path)], recursive=False)) == ["a", "b", "c"]
    assert names(read_documents([str(tmp_path)], recursive=True)) == ["a", "b", "c", "d"]
    # A file that is named itself may be called anything.
    assert names(read_documents([str(tmp_path / "e.txt"), "-"], recursive=False)) == ["e", "in"]


def test_places(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(f"# first\n{CONFIG}\n---\n\n{CONFIG}\n")
    documents = read_documents([str(file)], recursive=False)
    places = [decode(document, "default", forced=False)[0].place for document in documents]
    assert places == [f"{file}:2", f"{file}:5"]


def one(text: str) -> Document:
    return read_manifests(text, "x.yaml")[0]


@pytest.mark.parametrize(
    ("own", "flag", "expected"),
    [("", None, "context"), ("team", None, "team"), ("", "team", "team"), ("team", "team", "team")],
)
def test_namespaces(own: str, flag: str | None, expected: str) -> None:
    document = one(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: '{own}'}}}}")
    manifest, _ = decode(document, flag or "context", forced=flag is not None)
    assert manifest.object.metadata.namespace == expected
    assert manifest.document["metadata"]["namespace"] == expected


def test_a_namespace_that_contradicts_the_flag() -> None:
    document = one("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: team}}")
    with pytest.raises(Failure, match="does not match the namespace"):
        decode(document, "other", forced=True)


def test_things_without_namespaces() -> None:
    node = one("{apiVersion: v1, kind: Node, metadata: {name: a}}")
    manifest, _ = decode(node, "team", forced=True)
    assert manifest.object.metadata.namespace == ""
    assert manifest.document == node.data
    with pytest.raises(Failure, match=r"x\.yaml:1: metadata.namespace: Node is not namespaced"):
        decode(one("{apiVersion: v1, kind: Node, metadata: {name: a, namespace: b}}"), "b", forced=False)


def test_unknown_fields() -> None:
    document = one("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dta: {}}")
    with pytest.raises(Failure, match=r'x.yaml:1: .*unknown field "dta" \(did you mean "data"\?\)'):
        decode(document, "default", forced=False)
    assert "dta" in decode(document, "default", forced=False, unknown="warn")[1][0]
    assert decode(document, "default", forced=False, unknown="ignore")[1] == []


@pytest.mark.parametrize(
    "metadata", ["null", "[]", "5", "{name: 5}", "{name: a, namespace: [b]}", "{name: a, labels: b}"]
)
def test_metadata_that_is_none(metadata: str) -> None:
    document = one(f"{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}}}")
    try:
        manifest, _ = decode(document, "default", forced=False)
    except Failure as failure:
        assert str(failure).startswith("x.yaml:1: ")
    else:
        assert manifest.object.metadata.name == ""
