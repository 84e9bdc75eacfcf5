r"""Kubernetes' JSONPath templates: text with `{expressions}` in it, such as `{.items[*].metadata.name}{"\n"}`.

A template is parsed once into nodes and then applied to any number of documents. The dialect is kubectl's, which no
JSONPath library speaks: `range`/`end`, quoted literals, unions, slices, filters, and missing keys that give nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Step = Callable[[Json], Iterator[Json]]


class JsonPathError(Exception):
    """A template that can't be read; the message says where."""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Path:
    steps: tuple[Step, ...]
    absolute: bool


@dataclass(frozen=True, slots=True)
class _Range:
    path: _Path
    body: tuple[_Node, ...]


_Node = _Text | _Path | _Range

_TOKEN = re.compile(r"""(?P<text>[^{]+)|\{(?P<expression>(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^{}"'])*)\}""")
_NAME = re.compile(r"(?:[^\s.\[\]{}()'\"|,=<>!]|\\.)+")
_QUOTED = re.compile(r"""'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""")
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d+))?")
_FILTER = re.compile(r"\?\(\s*(?P<left>.+?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+?)\s*)?\)")


def render(template: str, document: Json) -> str:
    """The template's text for a document. Raises JsonPathError when the template can't be read."""
    return "".join(_render(parse(template), document, document))


def parse(template: str) -> tuple[_Node, ...]:
    """The template's nodes. A template without braces is one path."""
    if "{" not in template:
        template = "{" + template + "}"
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(template):
        match = _TOKEN.match(template, position)
        if match is None:
            raise JsonPathError(f"unclosed action in jsonpath at character {position + 1}: {template[position:]}")
        if match["text"] is not None:
            tokens.append(("text", match["text"]))
        else:
            tokens.append(("expression", match["expression"].strip()))
        position = match.end()
    nodes, rest = _sequence(tokens, 0, inside=False)
    assert rest == len(tokens)
    return nodes


def _sequence(tokens: Sequence[tuple[str, str]], position: int, *, inside: bool) -> tuple[tuple[_Node, ...], int]:
    nodes: list[_Node] = []
    while position < len(tokens):
        kind, text = tokens[position]
        position += 1
        if kind == "text":
            nodes.append(_Text(text))
        elif text == "end":
            if not inside:
                raise JsonPathError("{end} without {range}")
            return tuple(nodes), position
        elif text.startswith("range"):
            body, position = _sequence(tokens, position, inside=True)
            nodes.append(_Range(_path(text.removeprefix("range").strip()), body))
        elif quoted := _QUOTED.fullmatch(text):
            nodes.append(_Text(_unquote(quoted)))
        else:
            nodes.append(_path(text))
    if inside:
        raise JsonPathError("{range} without {end}")
    return tuple(nodes), position


def _unquote(match: re.Match[str]) -> str:
    if match[2] is not None:
        return str(json.loads(f'"{match[2]}"'))
    return match[1].replace("\\'", "'").replace("\\n", "\n").replace("\\t", "\t")


def _path(text: str) -> _Path:
    absolute = text.startswith("$")
    rest = text[1:] if text[:1] in ("$", "@") else text
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        if rest.startswith("..", position):
            steps.append(_descend)
            position += 2
            if position < len(rest) and rest[position] != "[":
                position -= 1
        elif rest[position] == ".":
            position += 1
            if rest.startswith("*", position):
                steps.append(_every)
                position += 1
            elif match := _NAME.match(rest, position):
                steps.append(_field(re.sub(r"\\(.)", r"\1", match[0])))
                position = match.end()
            elif position < len(rest) and rest[position] != "[":
                raise JsonPathError(f"a name is missing after the dot in jsonpath {{{text}}}")
        elif rest[position] == "[":
            end = _closing(rest, position)
            steps.append(_bracket(rest[position + 1 : end].strip(), text))
            position = end + 1
        elif position == 0 and (match := _NAME.match(rest)):
            steps.append(_field(match[0]))
            position = match.end()
        else:
            raise JsonPathError(f'unrecognized character "{rest[position]}" in jsonpath {{{text}}}')
    return _Path(tuple(steps), absolute)


def _closing(text: str, start: int) -> int:
    depth, quote = 0, ""
    for position in range(start, len(text)):
        character = text[position]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if not depth:
                return position
    raise JsonPathError(f"unterminated array in jsonpath: {text[start:]}")


def _bracket(inside: str, whole: str) -> Step:
    if inside == "*":
        return _every
    if match := _FILTER.fullmatch(inside):
        return _filter(match)
    if match := _SLICE.fullmatch(inside):
        start, stop, stride = (int(part) if part else None for part in match.groups())
        return lambda value: iter(value[start:stop:stride] if isinstance(value, list) else ())
    parts = [part.strip() for part in re.findall(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,]+""", inside)]
    steps: list[Step] = []
    for part in parts:
        if quoted := _QUOTED.fullmatch(part):
            steps.append(_field(_unquote(quoted)))
        elif re.fullmatch(r"-?\d+", part):
            steps.append(_index(int(part)))
        else:
            raise JsonPathError(f"invalid array index [{inside}] in jsonpath {{{whole}}}")
    return lambda value: (found for step in steps for found in step(value))


def _field(name: str) -> Step:
    def step(value: Json) -> Iterator[Json]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _index(index: int) -> Step:
    def step(value: Json) -> Iterator[Json]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _every(value: Json) -> Iterator[Json]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _descend(value: Json) -> Iterator[Json]:
    yield value
    for inner in _every(value):
        if isinstance(inner, list | dict):
            yield from _descend(inner)


def _filter(match: re.Match[str]) -> Step:
    left = _operand(match["left"])
    if match["operator"] is None:
        return lambda value: (item for item in _every(value) if any(True for _ in left(item)))
    right = _operand(match["right"])
    compare = _COMPARISONS[match["operator"]]

    def step(value: Json) -> Iterator[Json]:
        for item in _every(value):
            if any(compare(one, other) for one in left(item) for other in right(item)):
                yield item

    return step


def _operand(text: str) -> Step:
    if quoted := _QUOTED.fullmatch(text):
        literal: Json = _unquote(quoted)
    elif text.startswith("@"):
        path = _path(text)
        return lambda value: _walk(path.steps, value)
    else:
        try:
            literal = json.loads(text)
        except ValueError:
            raise JsonPathError(f"unrecognized operand {text} in a jsonpath filter") from None
    return lambda value: iter((literal,))


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Json, Json], bool]:
    def both(one: Json, other: Json) -> bool:
        if isinstance(one, int | float) and isinstance(other, int | float):
            return compare(one, other)
        return isinstance(one, str) and isinstance(other, str) and compare((one > other) - (one < other), 0)

    return both


_COMPARISONS: dict[str, Callable[[Json, Json], bool]] = {
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": _ordered(lambda one, other: one < other),
    ">": _ordered(lambda one, other: one > other),
    "<=": _ordered(lambda one, other: one <= other),
    ">=": _ordered(lambda one, other: one >= other),
}


def _walk(steps: Sequence[Step], value: Json) -> Iterator[Json]:
    if not steps:
        yield value
        return
    for found in steps[0](value):
        yield from _walk(steps[1:], found)


def _render(nodes: Sequence[_Node], root: Json, current: Json) -> Iterator[str]:
    for node in nodes:
        match node:
            case _Text(text):
                yield text
            case _Path(steps, absolute):
                yield " ".join(_text(value) for value in _walk(steps, root if absolute else current))
            case _Range(path, body):
                for value in _walk(path.steps, root if path.absolute else current):
                    yield from _render(body, root, value)


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
