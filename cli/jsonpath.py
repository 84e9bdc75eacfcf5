r"""Kubernetes' JSONPath templates: text with `{expressions}` in it, such as `{.items[*].metadata.name}{"\n"}`.

A template is parsed once into nodes and then applied to any number of documents. The dialect is kubectl's, which no
JSONPath library speaks: `range`/`end`, quoted literals, unions, slices, filters, and missing keys that give nothing.
As there, every step goes from all values found so far to all values found next, which decides the order of a union.

Whatever the text, reading it gives nodes or a JsonPathError, and applying nodes always succeeds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Step = Callable[[Sequence[Json]], list[Json]]


class JsonPathError(Exception):
    """A template that can't be read; the message says where."""


@dataclass(frozen=True, slots=True)
class _Text:
    """Words between expressions, or a quoted literal."""

    text: str


@dataclass(frozen=True, slots=True)
class _Path:
    """Steps from the current value, or from the document when it began with a dollar."""

    steps: tuple[Step, ...]
    absolute: bool


@dataclass(frozen=True, slots=True)
class _Range:
    """A body that is repeated for each value of a path."""

    path: _Path
    body: tuple[_Node, ...]


_Node = _Text | _Path | _Range

_MAX_DEPTH = 50
_TOKEN = re.compile(r"""(?P<text>[^{]+)|\{(?P<expression>(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^{}"'])*)\}""")
_NAME = re.compile(r"(?:[^\s.\[\]{}()'\"|,=<>!\\]|\\.)+")
_QUOTED = re.compile(r"""'((?:\\.|[^'\\])*)'|"((?:\\.|[^"\\])*)\"""", re.DOTALL)
_PARTS = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,'"]+)\s*(?:,\s*|$)""", re.DOTALL)
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(\d*))?")
_RANGE = re.compile(r"range(?=[\s.\[@$])\s*(.+)", re.DOTALL)
_INDEX = re.compile(r"-?\d+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_OPERATORS = ("==", "!=", "<=", ">=", "<", ">")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def render(template: str, document: Json) -> str:
    """The template's text for a document. Raises JsonPathError when the template can't be read."""
    return "".join(_render(parse(template), document, document))


def select(expression: str, document: Json) -> list[Json]:
    """The values that the template's paths find, for those who want values and not text. Raises JsonPathError."""
    paths = [node for node in parse(expression) if isinstance(node, _Path)]
    return [value for path in paths for value in _walk(path.steps, [document])]


def show(value: Json) -> str:
    """A value as kubectl prints it: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def parse(template: str) -> tuple[_Node, ...]:
    """The template's nodes. A template without braces is one path. Raises JsonPathError."""
    if "{" not in template:
        template = "{" + template + "}"
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(template):
        match = _TOKEN.match(template, position)
        if match is None:
            raise JsonPathError(f"unclosed action at character {position + 1}: {template[position:]}")
        if match["text"] is not None:
            tokens.append(("text", match["text"]))
        else:
            tokens.append(("expression", match["expression"].strip()))
        position = match.end()
    try:
        return _sequence(tokens, 0, 0)[0]
    except ValueError as error:  # numbers no one can count to, escapes that are none
        raise JsonPathError(str(error)) from error


def _sequence(tokens: Sequence[tuple[str, str]], position: int, depth: int) -> tuple[tuple[_Node, ...], int]:
    """The nodes up to the end of the template (depth 0) or of the range that is open, and where that end is."""
    if depth > _MAX_DEPTH:
        raise JsonPathError("too many ranges inside each other")
    nodes: list[_Node] = []
    while position < len(tokens):
        kind, text = tokens[position]
        position += 1
        if kind == "text":
            nodes.append(_Text(text))
        elif text == "end":
            if not depth:
                raise JsonPathError("{end} without {range}")
            return tuple(nodes), position
        elif ranged := _RANGE.fullmatch(text):
            body, position = _sequence(tokens, position, depth + 1)
            nodes.append(_Range(_path(ranged[1]), body))
        elif quoted := _QUOTED.fullmatch(text):
            nodes.append(_Text(_unquote(quoted)))
        else:
            nodes.append(_path(text))
    if depth:
        raise JsonPathError("{range} without {end}")
    return tuple(nodes), position


def _unquote(match: re.Match[str]) -> str:
    if match[2] is not None:
        text = str(json.loads(f'"{match[2]}"', strict=False))
        text.encode()  # half a surrogate pair is no text
        return text
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), match[1])


def _path(text: str, depth: int = 0) -> _Path:
    if depth > _MAX_DEPTH:
        raise JsonPathError("too many filters inside each other")
    absolute = text.startswith("$")
    rest = text[1:] if text[:1] in ("$", "@") else text
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        if rest.startswith("..", position):
            steps.append(_descend)
            position += 2
            if position == len(rest):
                raise JsonPathError(f"a name is missing after the dots in {{{text}}}")
            if rest[position] != "[":
                position -= 1
        elif rest[position] == ".":
            position += 1
            if rest.startswith("*", position):
                steps.append(_every)
                position += 1
            elif match := _NAME.match(rest, position):
                steps.append(_field(_ESCAPE.sub(r"\1", match[0])))
                position = match.end()
            elif position < len(rest) and rest[position] != "[":
                raise JsonPathError(f"a name is missing after the dot in {{{text}}}")
        elif rest[position] == "[":
            end = _closing(rest, position)
            steps.append(_bracket(rest[position + 1 : end].strip(), depth))
            position = end + 1
        elif position == 0 and rest == text and (match := _NAME.match(rest)):
            steps.append(_field(_ESCAPE.sub(r"\1", match[0])))
            position = match.end()
        else:
            raise JsonPathError(f'unrecognized character "{rest[position]}" in {{{text}}}')
    return _Path(tuple(steps), absolute)


def _bare(text: str, start: int) -> Iterator[tuple[int, int]]:
    """The positions outside quotes, each with the number of brackets that are open after it."""
    level, quote, escaped = 0, "", False
    for position in range(start, len(text)):
        character = text[position]
        if quote:
            if not escaped and character == quote:
                quote = ""
            escaped = character == "\\" and not escaped
            continue
        if character in "'\"":
            quote = character
            continue
        level += (character in "[(") - (character in "])")
        yield position, level


def _closing(text: str, start: int) -> int:
    for position, level in _bare(text, start):
        if not level:
            return position
    raise JsonPathError(f"unterminated array: {text[start:]}")


def _bracket(inside: str, depth: int) -> Step:
    if inside == "*":
        return _every
    if inside.startswith("?(") and inside.endswith(")"):
        return _filter(inside[2:-1].strip(), depth + 1)
    if match := _SLICE.fullmatch(inside):
        start, stop, stride = (int(part) if part and part != "-" else None for part in match.groups())
        if stride == 0 or "-" in match.groups():
            raise JsonPathError(f"invalid slice [{inside}]")
        return lambda values: [item for value in values if isinstance(value, list) for item in value[start:stop:stride]]
    steps: list[Step] = []
    position = 0
    while position < len(inside) and (match := _PARTS.match(inside, position)):
        steps.append(_member(match[1].strip(), inside))
        position = match.end()
    if not steps or position < len(inside) or inside.endswith(","):
        raise JsonPathError(f"invalid array index [{inside}]")
    return lambda values: [found for step in steps for found in step(values)]


def _member(part: str, whole: str) -> Step:
    if quoted := _QUOTED.fullmatch(part):
        return _key(quoted)
    if _INDEX.fullmatch(part):
        index = int(part)
        return lambda values: [
            value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)
        ]
    raise JsonPathError(f"invalid array index [{whole}]")


def _key(quoted: re.Match[str]) -> Step:
    r"""A quoted key. As in kubectl its dots lead further down (`['metadata.name']`), except those after a backslash;
    but a key that is there as it is written comes first."""
    raw = quoted[1] if quoted[1] is not None else quoted[2]
    whole = _ESCAPE.sub(r"\1", raw)
    names = [_ESCAPE.sub(r"\1", name) for name in re.findall(r"(?:\\.|[^.\\])+", raw, re.DOTALL)]
    further = [_field(name) for name in names]

    def step(values: Sequence[Json]) -> list[Json]:
        literal = [value[whole] for value in values if isinstance(value, dict) and whole in value]
        return literal or (_walk(further, values) if len(further) > 1 else [])

    return step


def _field(name: str) -> Step:
    return lambda values: [value[name] for value in values if isinstance(value, dict) and name in value]


def _every(values: Sequence[Json]) -> list[Json]:
    return [item for value in values for item in _children(value)]


def _children(value: Json) -> Sequence[Json]:
    match value:
        case list():
            return value
        case dict():
            return list(value.values())
        case _:
            return ()


def _descend(values: Sequence[Json]) -> list[Json]:
    """Every list and mapping at any depth, the outer before the inner."""
    found: list[Json] = []
    waiting = list(reversed(values))
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict):
            found.append(value)
            waiting += reversed(_children(value))
    return found


def _filter(text: str, depth: int) -> Step:
    operator, place = "", len(text)
    for position, level in _bare(text, 0):
        if not level and (operator := next((each for each in _OPERATORS if text.startswith(each, position)), "")):
            place = position
            break
    left = _operand(text[:place].strip(), depth)
    if not operator:
        return lambda values: [item for item in _every(values) if left([item])]
    right = _operand(text[place + len(operator) :].strip(), depth)
    compare = _COMPARISONS[operator]
    return lambda values: [
        item for item in _every(values) if any(compare(one, other) for one in left([item]) for other in right([item]))
    ]


def _operand(text: str, depth: int) -> Step:
    if text.startswith("@"):
        path = _path(text, depth)
        return lambda values: _walk(path.steps, values)
    if quoted := _QUOTED.fullmatch(text):
        literal: Json = _unquote(quoted)
    elif text in ("true", "false", "null") or re.fullmatch(r"-?\d+(\.\d+)?", text):
        literal = json.loads(text)
    else:
        raise JsonPathError(f"unrecognized operand {text or 'of nothing'} in a filter")
    return lambda values: [literal]


def _same(one: Json, other: Json) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _ordered(compare: Callable[[float, float], bool]) -> Callable[[Json, Json], bool]:
    def both(one: Json, other: Json) -> bool:
        if isinstance(one, int | float) and isinstance(other, int | float):
            return compare(one, other)
        return isinstance(one, str) and isinstance(other, str) and compare((one > other) - (one < other), 0)

    return both


_COMPARISONS: dict[str, Callable[[Json, Json], bool]] = {
    "==": _same,
    "!=": lambda one, other: not _same(one, other),
    "<": _ordered(lambda one, other: one < other),
    ">": _ordered(lambda one, other: one > other),
    "<=": _ordered(lambda one, other: one <= other),
    ">=": _ordered(lambda one, other: one >= other),
}


def _walk(steps: Sequence[Step], values: Sequence[Json]) -> list[Json]:
    found = list(values)
    for step in steps:
        found = step(found)
    return found


def _render(nodes: Sequence[_Node], root: Json, current: Json) -> Iterator[str]:
    for node in nodes:
        match node:
            case _Text(text):
                yield text
            case _Path(steps, absolute):
                yield " ".join(map(show, _walk(steps, [root if absolute else current])))
            case _Range(path, body):
                for value in _walk(path.steps, [root if path.absolute else current]):
                    yield from _render(body, root, value)
