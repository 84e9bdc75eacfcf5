"""What people type to name objects: `pods`, `pod web`, `deploy/web svc/web`, `pods,services`, `all`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cli.failure import Failure
from orchestrator.api.kinds import Kind, find_kind, kinds_in_category


@dataclass(frozen=True, slots=True)
class Reference:
    """A kind, and one object of it or all of them."""

    kind: Kind
    name: str | None = None


def read_references(words: Sequence[str]) -> list[Reference]:
    """The objects that arguments name. Raises Failure for words that don't fit together, UnknownKind."""
    if not words:
        raise Failure("name a resource: TYPE, TYPE NAME or TYPE/NAME (navctl get pods, navctl get pod/web)")
    if any("/" in word for word in words):
        plain = next((word for word in words if "/" not in word), None)
        if plain is not None:
            raise Failure(f'"{plain}" has no type: with TYPE/NAME, every argument needs one')
        return [_slashed(word) for word in words]
    kinds = [kind for word in words[0].split(",") for kind in kinds_in_category(word) or (find_kind(word),)]
    if len(words) == 1:
        return [Reference(kind) for kind in kinds]
    return [Reference(kind, name) for kind in kinds for name in words[1:]]


def read_named(words: Sequence[str]) -> list[Reference]:
    """As `read_references`, for commands that act on objects one by one: names are required."""
    references = read_references(words)
    for reference in references:
        if reference.name is None:
            raise Failure(f"resource name may not be empty: say which, as in {reference.kind.singular}/NAME")
    return references


def _slashed(word: str) -> Reference:
    kind, _, name = word.partition("/")
    if not kind or not name or "/" in name:
        raise Failure(f'"{word}" is not TYPE/NAME')
    return Reference(find_kind(kind), name)
