"""Manifests: what files say, where in them something is wrong, and what no file may do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from orchestrator.api.errors import BadRequest
from orchestrator.api.manifest import read_json, read_manifests, read_value, to_yaml
from orchestrator.api.v1 import ConfigMap, ObjectMeta
from tests.unit.api.schema_strategies import json_values


def read(text: str) -> list[tuple[dict[str, object], int]]:
    return [(document.data, document.line) for document in read_manifests(text, "f.yaml")]


def test_documents_and_lists_with_their_lines() -> None:
    text = "# first\n---\n---\nkind: List\napiVersion: v1\nitems:\n- a: 1\n- b: 2\n---\n\nc: 3\n---\n"
    assert read(text) == [({"a": 1}, 4), ({"b": 2}, 4), ({"c": 3}, 11)]
    assert read("") == read("---\n# nothing\n") == []
    assert read('{"kind": "List", "apiVersion": "v1", "items": [{"a": 1}]}') == [({"a": 1}, 1)]
    assert read('\ufeff{"a": 1}') == [({"a": 1}, 1)]
    assert read('{"a": 1}\n---\n{"b": 2}\n') == [({"a": 1}, 1), ({"b": 2}, 3)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),  # base 60 for YAML 1.1
        ("0644", 420),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("2020-01-01", "2020-01-01"),
        ("yes", True),
        ("Off", False),
        ("y", "y"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        (".inf", ".inf"),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("=", "="),
        ("<<", "<<"),
        ("|\n  a\n  b\n", "a\nb\n"),
    ],
)
def test_scalars_as_kubernetes_reads_them(text: str, value: object) -> None:
    found = read_value(f"k: {text}", "f.yaml")
    assert isinstance(found, dict)
    assert (found["k"], type(found["k"])) == (value, type(value))


def test_keys_are_text() -> None:
    assert read("1: a\ntrue: b\n1.5: c\n") == [({"1": "a", "true": "b", "1.5": "c"}, 1)]


def test_aliases_and_merges_share_nothing() -> None:
    [(data, _)] = read("x: &x {a: [1], b: 0}\ny:\n  <<: *x\n  b: 2\nz: *x\n")
    assert data == {"x": {"a": [1], "b": 0}, "y": {"a": [1], "b": 2}, "z": {"a": [1], "b": 0}}
    data["z"]["a"].append(2)  # type: ignore[index]
    assert data["x"] == {"a": [1], "b": 0}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", 'f.yaml:2:1: key "a" is given twice in the same mapping'),
        ('{"a": 1, "a": 2}', 'f.yaml:1:10: key "a" is given twice in the same mapping'),
        ("a: [1", "f.yaml:2:1: not valid YAML: did not find expected ',' or ']'"),
        ("a:\n  b: c: d", "f.yaml:2:7: not valid YAML: mapping values are not allowed in this context"),
        ("ok: 1\n---\n\tb: 1", "f.yaml:3:1: not valid YAML: found character that cannot start any token"),
        ("a: 1\nb: \x00", "f.yaml:2: not valid YAML: control characters are not allowed"),
        ("- a", "f.yaml:1: expected an object with apiVersion, kind and metadata"),
        ("text", "f.yaml:1: expected an object with apiVersion, kind and metadata"),
        ("kind: List\napiVersion: v1\nitems: 3", "f.yaml:1: items must be a list"),
        ("kind: List\napiVersion: v1\nitems: [3]", "f.yaml:1: expected an object with apiVersion, kind and metadata"),
        ("a: *b", "f.yaml:1:4: the alias *b stands for nothing that is complete here"),
        ("a: &a {b: *a}", "f.yaml:1:11: the alias *a stands for nothing that is complete here"),
        ("a:\n  <<: 3", "f.yaml:2:3: << takes a mapping or a list of mappings"),
        ("? [1]\n: 2", "f.yaml:1:3: a key must be text"),
        ("~: 2", "f.yaml:1:1: a key must be text"),
        ("a: !!int x", 'f.yaml:1:4: "x" is not of the type its tag says'),
        ("a: 1e999", "f.yaml:1:4: the number 1e999 is too large"),
        ("a: " + "9" * 101, "f.yaml:1:4: a number with more than 100 digits"),
        (BOMB, "stands for more than 1000000 values: too many aliases"),
        ("[" * 5000, "f.yaml:1:202: nested more than 200 levels deep"),
        ("- " * 200_000, "f.yaml:1:403: nested more than 200 levels deep"),
        ('{"a":' * 100_000, "nested more than 200 levels deep"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(text)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system [id]", "!!python/name:os.system", "!foo 1", "!!set {}", "!<x> {}"]
)
def test_no_tag_makes_an_object(value: str) -> None:
    with pytest.raises(BadRequest, match="is not allowed"):
        read(f"a: {value}")


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_what_is_written_is_read_back(value: object) -> None:
    assert read_value(to_yaml({"k": value, "l": [value]}), "f.yaml") == {"k": value, "l": [value]}


@pytest.mark.parametrize(
    "text",
    ["yes", "1e3", "0o17", "08", "22:22", "1_0", "~", "null", "<<", "=", "2020-01-01", "+1", "1.", " x ", "a\tb", "\n",
     "- a", "a: b", "#", "", "l1\nl2\n", "trail \nx", "\u2028", "é", "{}", "*a", "&a", "!a", "%a", "@a", "`a"],
)  # fmt: skip
def test_text_stays_text(text: str) -> None:
    assert read_value(to_yaml({"k": text}), "f.yaml") == {"k": text}


def test_yaml_looks_like_kubectls() -> None:
    config = ConfigMap(metadata=ObjectMeta(name="c"), data={"b": "line 1\nline 2\n", "a": "1"})
    assert to_yaml(config) == (
        'apiVersion: v1\ndata:\n  a: "1"\n  b: |\n    line 1\n    line 2\nkind: ConfigMap\nmetadata:\n  name: c\n'
    )
    same = ["x"]
    assert to_yaml({"l": [{"a": same}, {"b": same}]}) == "l:\n- a:\n  - x\n- b:\n  - x\n"


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, b"\xff", ""])
def test_bodies_that_are_no_json(text: str | bytes) -> None:
    with pytest.raises(BadRequest, match="the request body is not valid JSON: "):
        read_json(text)


def test_one_value() -> None:
    assert read_json(b'{"a": [1]}') == {"a": [1]}
    assert read_value("", "patch") is None
    with pytest.raises(BadRequest, match="patch: expected one document, found 2"):
        read_value("a: 1\n---\nb: 1\n", "patch")
