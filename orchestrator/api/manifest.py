"""Manifests: the YAML and JSON files people write, read into plain JSON values and written back.

Files are read the way Kubernetes' tools read them: several documents, `kind: List` taken apart, keys turned to text, no
dates and no base-60 numbers (`22:22` is text). Values are built from the parser's events here rather than by PyYAML's
constructors, which gives every document its line, refuses keys given twice (PyYAML keeps the last), knows no tag that
could make an object, and bounds what a small file can grow to through aliases.

All that is wrong with a file is a BadRequest that begins with the file and the line.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import yaml

from orchestrator.api.codec import to_json
from orchestrator.api.encoding import JsonObject
from orchestrator.api.errors import BadRequest
from orchestrator.api.kinds import KubeObject

MAX_NODES = 1_000_000
"""Values a file may stand for, aliases counted each time they are used."""
MAX_DEPTH = 200
_CHARACTERS_A_VALUE = 64
"""A text counts as many values as it has so many characters: an alias of a long one is as dear as a long list."""
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")

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
    """JSON from a client. Refuses what is not JSON, what no number or text can hold, and keys given twice."""
    try:
        return _parsed_json(text if isinstance(text, str) else text.decode())
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
        return _parsed_json(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None


def _parsed_json(text: str) -> object:
    value = json.loads(text, parse_constant=refuse_constant, parse_float=finite, object_pairs_hook=_unique)
    refuse_halves(text, value)
    return value


def refuse_halves(text: str, value: object) -> None:
    """Raise ValueError if an escape in this JSON names half of a character: no text that could be stored or shown."""
    if _HALF_CHARACTER.search(text):
        json.dumps(value, ensure_ascii=False).encode()


def finite(text: str) -> float:
    """A number of JSON. Raises ValueError for one that is too large."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:32]} is too large")
    return number


def refuse_constant(name: str) -> object:
    """NaN and Infinity, which Python reads, are not JSON."""
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


class _Events(Protocol):
    """The part of a loader that is used here."""

    def check_event(self) -> bool: ...
    def get_event(self) -> yaml.Event: ...
    def peek_event(self) -> yaml.Event: ...
    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str: ...
    def dispose(self) -> None: ...


class _Dumper(_FastDumper):
    """Quotes every text that this reader, or PyYAML's own, would take for a date, a number or a bool."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|"
    elif cast(_Events, dumper).resolve(yaml.ScalarNode, text, (True, False)) != _TEXT:
        style = '"'  # as kubectl, where PyYAML's own choice is '
    return dumper.represent_scalar(_TEXT, text, style=style)


_Dumper.add_representer(str, _text)
# Equal values are written out, not aliased.
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]

_INTEGER = r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_Loader.yaml_implicit_resolvers = {}
_Dumper.yaml_implicit_resolvers = {first: list(some) for first, some in _Dumper.yaml_implicit_resolvers.items()}
for _tag, _pattern, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    for _reader_or_writer in (_Loader, _Dumper):
        _reader_or_writer.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), [*_first, *([""] if _tag == "null" else [])]
        )
_TEXT = "tag:yaml.org,2002:str"
_COLLECTION_TAGS = frozenset({None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_TRUE = frozenset({"yes", "true", "on"})


def _documents(text: str, source: str) -> Iterator[tuple[object, int]]:
    loader = cast(_Events, _Loader(text))
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                mark = loader.peek_event().start_mark
                line = mark.line + 1 if mark else 1
                data = _Builder(loader, source).build(0)
                if data is not None:
                    yield data, line
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        where = f"{source}:{at.line + 1}:{at.column + 1}" if at else source
        raise BadRequest(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise BadRequest(f"{source}:{line}: not valid YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise BadRequest(f"{source}: not valid YAML: {_one_line(error)}") from None
    finally:
        loader.dispose()


class _Builder:
    """Turns the events of one document into JSON values.

    From events, not nodes: the parser underneath composes nodes by recursion in C and dies on a file of nested lists.
    """

    def __init__(self, loader: _Events, source: str) -> None:
        self._loader = loader
        self._source = source
        self._size = 0
        self._anchors: dict[str, tuple[object, int]] = {}

    def build(self, depth: int) -> object:
        event = self._loader.get_event()
        before = self._size
        self._grow(event, 1)
        if depth > MAX_DEPTH:
            raise self._fault(event, f"nested more than {MAX_DEPTH} levels deep")
        value: object
        match event:
            case yaml.AliasEvent():
                return self._alias(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent() if event.tag not in _COLLECTION_TAGS:
                raise self._fault(event, f"the tag {event.tag} is not allowed")
            case yaml.MappingStartEvent():
                value = self._mapping(depth)
            case yaml.SequenceStartEvent():
                items: list[object] = []
                while not isinstance(self._loader.peek_event(), yaml.SequenceEndEvent):
                    items.append(self.build(depth + 1))
                self._loader.get_event()
                value = items
            case yaml.ScalarEvent():
                self._grow(event, len(event.value) // _CHARACTERS_A_VALUE)
                value = self._scalar(event)
            case _:
                raise self._fault(event, "not a value")
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._size - before)
        return value

    def _grow(self, event: yaml.Event, by: int) -> None:
        self._size += by
        if self._size > MAX_NODES:
            raise self._fault(event, f"stands for more than {MAX_NODES} values: too many aliases")

    def _alias(self, event: yaml.AliasEvent) -> object:
        if event.anchor not in self._anchors:
            raise self._fault(event, f"the alias *{event.anchor} stands for nothing that is complete here")
        value, size = self._anchors[event.anchor]
        self._grow(event, size)
        return copy.deepcopy(value)

    def _mapping(self, depth: int) -> dict[str, object]:
        data: dict[str, object] = {}
        merged: dict[str, object] = {}
        while not isinstance(self._loader.peek_event(), yaml.MappingEndEvent):
            event = self._loader.get_event()
            if isinstance(event, yaml.ScalarEvent) and self._tag(event) == "tag:yaml.org,2002:merge":
                for name, value in self._merge(event, depth).items():
                    merged.setdefault(name, value)
                continue
            self._grow(event, 1)
            key = self._key(event)
            if key in data:
                raise self._fault(event, f'key "{key}" is given twice in the same mapping')
            data[key] = self.build(depth + 1)
        self._loader.get_event()
        return {**merged, **data} if merged else data

    def _merge(self, event: yaml.Event, depth: int) -> dict[str, object]:
        value = self.build(depth + 1)
        merged: dict[str, object] = {}
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                raise self._fault(event, "<< takes a mapping or a list of mappings")
            for name, item in each.items():
                merged.setdefault(name, item)
        return merged

    def _key(self, event: yaml.Event) -> str:
        value = self._alias(event) if isinstance(event, yaml.AliasEvent) else None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1 + len(event.value) // _CHARACTERS_A_VALUE)
        match value:
            case str():
                return value
            case bool():
                return "true" if value else "false"
            case int() | float():
                return str(value)
        raise self._fault(event, "a key must be text")

    def _tag(self, event: yaml.ScalarEvent) -> str:
        if event.tag is not None:
            return _TEXT if event.tag == "!" else str(event.tag)
        return str(self._loader.resolve(yaml.ScalarNode, event.value, event.implicit))

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text: str = event.value
        tag = self._tag(event)
        match tag.removeprefix("tag:yaml.org,2002:"):
            case "str":
                return text
            case "null":
                return None
            case "bool" if text.lower() in {"yes", "true", "on", "no", "false", "off"}:
                return text.lower() in _TRUE
            case "int" if re.fullmatch(_INTEGER, text):
                return self._integer(event, text.replace("_", ""))
            case "int" | "float" if re.fullmatch(_FLOAT, text):
                number = float(text)
                if not math.isfinite(number):
                    raise self._fault(event, f"the number {text} is too large")
                return number
            case "binary" | "timestamp" | "merge" | "value":
                return text
            case "bool" | "int" | "float":
                raise self._fault(event, f'"{text}" is not of the type its tag says')
        raise self._fault(event, f"the tag {tag} is not allowed")

    def _integer(self, event: yaml.Event, text: str) -> int:
        sign = -1 if text.startswith("-") else 1
        digits = text.lstrip("+-").lower()
        if len(digits) > 100:
            raise self._fault(event, "a number with more than 100 digits")
        if digits.startswith(("0b", "0x", "0o")):
            return sign * int(digits, 0)
        return sign * int(digits, 8 if len(digits) > 1 and digits.startswith("0") else 10)

    def _fault(self, event: yaml.Event, what: str) -> BadRequest:
        mark = event.start_mark
        where = f"{self._source}:{mark.line + 1}:{mark.column + 1}" if mark else self._source
        return BadRequest(f"{where}: {what}")


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
