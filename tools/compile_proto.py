"""Compiles `proto/` into Python modules, type stubs included, beside the code that uses them.

A file `proto/a/b/c.proto` becomes `a/b/c_pb2.py` and `c_pb2.pyi`; one with a service also `c_pb2_grpc.py` and its stub.
A folder of `_WHOLE` gets two modules more: `descriptors_pb2.py` holds the descriptors of all its files, so that one
import makes the schema known without making a class for each message, and `comments_pb2.py` what the sources say about
messages and fields, which protoc leaves out of the others. Its stubs of services take messages from the package.
The modules are built aside and moved into place, so that a process importing them at that moment sees old ones or new
ones, never halves. A folder whose sources, outputs and compiler are those of the last run is left alone, which makes
the script free to call.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.resources
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

_SERVICE = re.compile(r"^service\s+\w+", re.MULTILINE)
_GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
_SERIALIZED = re.compile(r"AddSerializedFile\((b'.*')\)$", re.MULTILINE)
_WHOLE = frozenset({Path("orchestrator/api/v1")})
_DESCRIPTORS = "descriptors_pb2.py"
_COMMENTS = "comments_pb2.py"


class CompileError(Exception):
    """protoc refused the sources of a folder; the message is what it said."""


def compile_protos(root: Path) -> list[Path]:
    """Brings the generated modules under `root` up to date; returns the files written, none when nothing changed.

    A folder that does not compile does not keep the others from being compiled; CompileError is raised at the end.
    """
    source_root = root / "proto"
    written: list[Path] = []
    failures: list[str] = []
    for folder in sorted({path.parent for path in source_root.rglob("*.proto")}):
        sources = sorted(folder.glob("*.proto"))
        relative = folder.relative_to(source_root)
        stamp = root / ".cache" / "proto" / (str(relative).replace("/", ".") + ".sha256")
        digest = _digest(sources)
        outputs = [root / relative / name for name in _folder_names(relative, sources)]
        if stamp.is_file() and stamp.read_text() == digest and all(path.is_file() for path in outputs):
            continue
        try:
            written += _compile_folder(root, source_root, relative, sources)
        except CompileError as failure:
            failures.append(str(failure))
            continue
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)
    if failures:
        raise CompileError("\n".join(failures))
    return written


def _has_service(source: Path) -> bool:
    return _SERVICE.search(source.read_text()) is not None


def _output_names(source: Path) -> list[str]:
    endings = _GENERATED if _has_service(source) else _GENERATED[:2]
    return [source.stem + ending for ending in endings]


def _folder_names(relative: Path, sources: Sequence[Path]) -> set[str]:
    names = {name for source in sources for name in _output_names(source)}
    return names | {_DESCRIPTORS, _COMMENTS} if relative in _WHOLE else names


def _digest(sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{version('grpcio-tools')} {version('mypy-protobuf')}\n".encode())
    for path in [Path(__file__), *sources]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _plugin(name: str) -> str:
    # A build in an isolated environment has its own on PATH; a plain `.venv/bin/python` has it as a neighbour.
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.is_file() else None)
    if found is None:
        raise CompileError(f"{name} is neither on PATH nor beside {sys.executable}: install mypy-protobuf")
    return found


def _compile_folder(root: Path, source_root: Path, relative: Path, sources: Sequence[Path]) -> list[Path]:
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory(prefix="protoc-") as scratch:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{source_root}", f"-I{well_known}"]
        messages = [
            f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
            f"--python_out={scratch}",
            f"--mypy_out=quiet:{scratch}",
        ]
        services = [
            f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
            f"--grpc_python_out={scratch}",
            f"--mypy_grpc_out=quiet:{scratch}",
        ]
        _run([*command, *messages, *map(str, sources)])
        with_services = [str(path) for path in sources if _has_service(path)]
        if with_services:
            _run([*command, *services, *with_services])
        if relative in _WHOLE:
            everything = Path(scratch) / "everything.bin"
            described = ["--include_imports", "--include_source_info", f"--descriptor_set_out={everything}"]
            _run([*command, *described, *map(str, sources)])
            _write_whole(Path(scratch), relative, FileDescriptorSet.FromString(everything.read_bytes()))
        target = root / relative
        target.mkdir(parents=True, exist_ok=True)
        expected = _folder_names(relative, sources)
        for stale in target.iterdir():
            if stale.name.endswith(_GENERATED) and stale.name not in expected:
                stale.unlink()
        return [_move(Path(scratch) / relative / name, target / name) for name in sorted(expected)]


def _write_whole(scratch: Path, relative: Path, everything: FileDescriptorSet) -> None:
    """The two modules about a folder as a whole, beside those that protoc wrote."""
    own = [file for file in everything.file if Path(file.name).parent == relative]
    others = sorted({name for file in own for name in file.dependency} - {file.name for file in own})
    lines = ['"""The descriptors of all files of this folder, each after those it needs. Generated."""\n']
    lines += [f"import {name.removesuffix('.proto').replace('/', '.')}_pb2  # noqa: F401" for name in others]
    lines += ["", "FILES: tuple[bytes, ...] = ("]
    lines += [f"    {_serialized(scratch / file.name.replace('.proto', '_pb2.py'))!r}," for file in own]
    (scratch / relative / _DESCRIPTORS).write_text("\n".join([*lines, ")", ""]))
    for stubs in (scratch / relative).glob("*_pb2_grpc.py"):
        stubs.write_text(_from_the_package(stubs.read_text(), relative))
    comments = dict(comment for file in own for comment in _comments(file))
    lines = ['"""What the schema says about its messages and fields, by their full names. Generated."""\n']
    lines += ["COMMENTS: dict[str, str] = {"]
    lines += [f"    {name!r}: {comments[name]!r}," for name in sorted(comments)]
    (scratch / relative / _COMMENTS).write_text("\n".join([*lines, "}", ""]))


def _from_the_package(stubs: str, relative: Path) -> str:
    """A module of stubs that takes messages from the package, which makes only those that are needed."""
    package, _, name = str(relative).replace("/", ".").rpartition(".")
    return re.sub(
        rf"^from {re.escape(package)}\.{name} import \w+_pb2 as", f"from {package} import {name} as", stubs, flags=re.M
    )


def _serialized(module: Path) -> bytes:
    """The very bytes that a generated module gives to protobuf, which refuses a file that comes twice and differs."""
    found = _SERIALIZED.search(module.read_text())
    if found is None:
        raise CompileError(f"{module.name}: protoc writes modules in a form that is not known here")
    serialized: bytes = ast.literal_eval(found[1])
    return serialized


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Full names and what the source says there. Lines of a paragraph are joined."""
    for location in file.source_code_info.location:
        parts = (location.leading_comments, location.trailing_comments)
        text = "\n\n".join(part.strip() for part in parts if part.strip())
        name = _full_name(file, location.path)
        if text and name:
            paragraphs = re.split(r"\n\s*\n", text)
            yield name, "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _full_name(file: FileDescriptorProto, path: Sequence[int]) -> str | None:
    """What a place in a source is about, if that is a message (4), a message in it (3) or a field of one (2)."""
    if len(path) < 2 or len(path) % 2 or path[0] != file.DESCRIPTOR.fields_by_name["message_type"].number:
        return None
    message: DescriptorProto = file.message_type[path[1]]
    names = [file.package, message.name]
    for kind, index in zip(path[2::2], path[3::2], strict=True):
        if kind == message.DESCRIPTOR.fields_by_name["nested_type"].number:
            message = message.nested_type[index]
            names.append(message.name)
        elif kind == message.DESCRIPTOR.fields_by_name["field"].number:
            return ".".join([*names, message.field[index].name])
        else:
            return None
    return ".".join(names)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompileError(done.stderr.strip() or f"protoc ended with {done.returncode}")


def _move(source: Path, target: Path) -> Path:
    # The scratch folder may be on another file system, and only a rename within one is atomic.
    near = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, near)
    near.replace(target)
    return target


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    try:
        written = compile_protos(root)
    except CompileError as failure:
        print(failure, file=sys.stderr)
        return 1
    if written:
        print(f"==> compiled proto/ into {len(written)} modules and stubs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
