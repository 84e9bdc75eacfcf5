"""Compiles `proto/` into Python modules, type stubs included, beside the code that uses them.

A file `proto/a/b/c.proto` becomes `a/b/c_pb2.py` and `c_pb2.pyi`; one with a service also `c_pb2_grpc.py` and its stub.
The modules are built aside and moved into place, so that a process importing them at that moment sees old ones or new
ones, never halves. A folder whose sources, outputs and compiler are those of the last run is left alone, which makes
the script free to call.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

_SERVICE = re.compile(r"^service\s+\w+", re.MULTILINE)
_GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


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
        outputs = [root / relative / name for source in sources for name in _output_names(source)]
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
        target = root / relative
        target.mkdir(parents=True, exist_ok=True)
        expected = {name for source in sources for name in _output_names(source)}
        for stale in target.iterdir():
            if stale.name.endswith(_GENERATED) and stale.name not in expected:
                stale.unlink()
        return [_move(Path(scratch) / relative / name, target / name) for name in sorted(expected)]


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
