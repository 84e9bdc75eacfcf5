"""Manifests: the YAML and JSON files people write, read into plain JSON values and written back.

Files are read the way Kubernetes' tools read them: several documents, `kind: List` taken apart, keys turned to text, no
dates and no base-60 numbers (`22:22` is text). Values are built from the parsed nodes here rather than by PyYAML's
constructors, which gives every document its line, refuses keys given twice (PyYAML keeps the last), knows no tag that
could make an object, and bounds what a small file can grow to through aliases.

All that is wrong with a file is a BadRequest that begins with the file and the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.api.codec import to_json
from orchestrator.api.encoding import JsonObject
from orchestrator.api.errors import BadRequest
from orchestrator.api.kinds import KubeObject

MAX_NODES = 1_000_000
"""Values a file may stand for, aliases counted each time they are used."""
MAX_DEPTH = 200

if TYPE_CHECKING:
    from yaml import SafeDumper as _FastDumper
    from yaml import SafeLoader as _FastLoader
else:
    from yaml import CSafeDumper as _FastDumper
    from yaml import CSafeLoader as _FastLoader


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file. `line` is where it begins, counted from 1."""

    data: JsonObject
    source: str
    line: int


def read_manifests(text: str, source: str) -> list[Document]:
    """The objects of a file, in order; `source` is what messages call it."""
    documents: list[Document] = []
    if text.lstrip("\ufeff \t\r\n").startswith("{") and (parsed := _try_json(text)) is not None:
        documents += _expand(parsed, source, 1)
        return documents
    for data, line in _documents(text, source):
        documents += _expand(data, source, line)
    return documents


def read_value(text: str, source: str) -> object:
    """One YAML or JSON value: a patch, the result of an edit. Nothing at all reads as None."""
    values = [data for data, _ in _documents(text, source)]
    if len(values) > 1:
        raise BadRequest(f"{source}: expected one document, found {len(values)}")
    return values[0] if values else None


def read_json(text: str | bytes, what: str = "the request body") -> object:
    """JSON from a client. Refuses NaN and Infinity, which are not JSON, and keys given twice."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} is not valid JSON: {_one_line(error)}") from None


def to_yaml(obj: KubeObject | Mapping[str, Any]) -> str:
    """An object, or any JSON value, as kubectl prints it: keys sorted, lists not indented, long text in blocks."""
    data = obj if isinstance(obj, Mapping) else to_json(obj)
    dumped: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=True, default_flow_style=False, allow_unicode=True, width=1_000_000
    )
    return dumped


# JSON


def _try_json(text: str) -> object:
    # A JSON file is YAML too, but json is a hundred times faster. What it refuses gets YAML's message with a line.
    try:
        return json.loads(text.lstrip("\ufeff"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    data = dict(pairs)
    if len(data) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f'key "{key}" is given twice')
            seen.add(key)
    return data


# YAML


class _Loader(_FastLoader):
    """YAML 1.1 as Kubernetes' tools resolve it."""


class _Dumper(_FastDumper):
    """Its resolvers are PyYAML's, which quote every text that some reader might take for a date, number or bool."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
# Equal values are written out, not aliased.
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]

_INTEGER = r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, *([""] if _tag == "null" else [])]
    )
_TRUE = frozenset({"yes", "true", "on"})


def _documents(text: str, source: str) -> Iterator[tuple[object, int]]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            line = node.start_mark.line + 1
            data = _Builder(source).build(node, 0)
            if data is not None:
                yield data, line
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise BadRequest(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise BadRequest(f"{source}:{line}: not valid YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise BadRequest(f"{source}: not valid YAML: {_one_line(error)}") from None
    except RecursionError:
        raise BadRequest(f"{source}: nested too deeply") from None
    finally:
        loader.dispose()


class _Builder:
    """Turns the nodes of one document into JSON values."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._nodes = 0

    def build(self, node: yaml.Node, depth: int) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._fault(node, f"stands for more than {MAX_NODES} values: too many aliases")
        if depth > MAX_DEPTH:
            raise self._fault(node, f"nested more than {MAX_DEPTH} levels deep")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, depth)
            case yaml.SequenceNode():
                return [self.build(item, depth + 1) for item in node.value]
            case yaml.ScalarNode():
                return self._scalar(node)
        raise self._fault(node, "not a value")

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, object]:
        data: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for name, value in self._merge(value_node, depth).items():
                    merged.setdefault(name, value)
                continue
            key = self._key(key_node)
            if key in data:
                raise self._fault(key_node, f'key "{key}" is given twice in the same mapping')
            data[key] = self.build(value_node, depth + 1)
        return {**merged, **data} if merged else data

    def _merge(self, node: yaml.Node, depth: int) -> dict[str, object]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for each in nodes:
            value = self.build(each, depth + 1)
            if not isinstance(value, dict):
                raise self._fault(each, "<< takes a mapping or a list of mappings")
            for name, item in value.items():
                merged.setdefault(name, item)
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._fault(node, "a key must be text")
        match self._scalar(node):
            case str() as text:
                return text
            case bool() as truth:
                return "true" if truth else "false"
            case int() | float() as number:
                return str(number)
        raise self._fault(node, "a key must be text, not null")

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text: str = node.value
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool" if text.lower() in {"yes", "true", "on", "no", "false", "off"}:
                return text.lower() in _TRUE
            case "int" if re.fullmatch(_INTEGER, text):
                return self._integer(node, text.replace("_", ""))
            case "int" | "float" if re.fullmatch(_FLOAT, text):
                number = float(text)
                if number in (float("inf"), float("-inf")):
                    raise self._fault(node, f"the number {text} is too large")
                return number
            case "binary" | "timestamp" | "merge" | "value":
                return text
            case "bool" | "int" | "float":
                raise self._fault(node, f'"{text}" is not of the type its tag says')
        raise self._fault(node, f"the tag {node.tag} is not allowed")

    def _integer(self, node: yaml.ScalarNode, text: str) -> int:
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-").lower()
        if len(digits) > 100:
            raise self._fault(node, "a number with more than 100 digits")
        if digits.startswith(("0b", "0x", "0o")):
            return sign * int(digits, 0)
        return sign * int(digits, 8 if len(digits) > 1 and digits.startswith("0") else 10)

    def _fault(self, node: yaml.Node, what: str) -> BadRequest:
        mark = node.start_mark
        return BadRequest(f"{self._source}:{mark.line + 1}:{mark.column + 1}: {what}")


# Both


def _expand(data: object, source: str, line: int) -> Iterator[Document]:
    if not isinstance(data, dict):
        raise BadRequest(f"{source}:{line}: expected an object with apiVersion, kind and metadata")
    if data.get("kind") == "List" and data.get("apiVersion") == "v1":
        items = data.get("items") or []
        if not isinstance(items, list):
            raise BadRequest(f"{source}:{line}: items must be a list")
        for item in items:
            yield from _expand(item, source, line)
        return
    yield Document(data, source, line)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
