"""The objects of `-f`: files, folders, standard input; many documents each."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cli.failure import Failure
from orchestrator.api.errors import ApiError
from orchestrator.api.kinds import KubeObject, kind_of
from orchestrator.api.manifest import Document, read_manifests

Unknown = Literal["strict", "warn", "ignore"]
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document: as it was written, and as the object it means. `place` is for messages: "web.yaml:12"."""

    document: dict[str, Any]
    object: KubeObject
    place: str


def read_documents(names: Iterable[str], *, recursive: bool) -> list[Document]:
    """All documents of files, folders and "-". Raises Failure when one can't be read, or there are none at all."""
    names = list(names)
    try:
        documents = [document for text, source in _texts(names, recursive) for document in read_manifests(text, source)]
    except ApiError as error:
        raise Failure(error.message) from error
    if not documents:
        raise Failure(f"no objects passed: there is no manifest in {', '.join(names)}")
    return documents


def decode(
    document: Document, namespace: str, *, forced: bool, unknown: Unknown = "strict"
) -> tuple[Manifest, list[str]]:
    """The object of a document, with the namespace it belongs to, and warnings.

    `namespace` is the default; with `forced` (the user gave -n) another one in the document is an error. Raises Failure
    with the place of what is wrong.
    """
    from orchestrator.api.codec import from_json

    place = f"{document.source}:{document.line}"
    try:
        decoded = from_json(document.data, unknown=unknown)
    except ApiError as error:
        raise Failure(f"{place}: {error.message}") from error
    obj, data = decoded.obj, document.data
    if kind_of(obj).namespaced:
        named = obj.metadata.namespace
        if named and forced and named != namespace:
            raise Failure(
                f'{place}: the namespace from the provided object "{named}" does not match the namespace '
                f'"{namespace}". '
                f"You must pass '--namespace={named}' to perform this operation."
            )
        obj.metadata.namespace = named or namespace
        data = data | {"metadata": dict(data.get("metadata") or {}) | {"namespace": obj.metadata.namespace}}
    elif obj.metadata.namespace:
        raise Failure(f"{place}: metadata.namespace: {kind_of(obj).kind} is not namespaced: leave it out")
    return Manifest(data, obj, place), list(decoded.warnings)


def _texts(names: Iterable[str], recursive: bool) -> Iterator[tuple[str, str]]:
    for name in names:
        path = Path(name)
        if name == "-":
            yield sys.stdin.read(), "<stdin>"
        elif path.is_dir():
            files = sorted(path.rglob("*") if recursive else path.iterdir())
            wanted = [file for file in files if file.is_file() and file.suffix in SUFFIXES]
            if not wanted:
                raise Failure(f"{name}: no files with {', '.join(SUFFIXES)} in this folder")
            for file in wanted:
                yield _read(file), str(file)
        elif path.exists():
            yield _read(path), name
        else:
            raise Failure(f'the path "{name}" does not exist')


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: not UTF-8 text (byte {error.start})") from None
