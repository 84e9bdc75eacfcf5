"""The build of generated modules: complete, quick when nothing changed, and one bad file does not spoil the rest."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compiler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compile_proto", ROOT / "tools" / "compile_proto.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(root: Path, name: str, body: str) -> Path:
    path = root / "proto" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    package = str(Path(name).parent).replace("/", ".")
    path.write_text(f'syntax = "proto3";\npackage {package};\n{body}\n')
    return path


def test_compiles_what_changed_and_removes_what_is_gone(compiler: ModuleType, tmp_path: Path) -> None:
    thing = _write(tmp_path, "a/v1/thing.proto", "message Thing { string name = 1; }")
    service = 'import "a/v1/thing.proto";\nservice Things { rpc Get(Thing) returns (Thing); }'
    door = _write(tmp_path, "a/v1/door.proto", service)
    written = {path.name for path in compiler.compile_protos(tmp_path)}
    assert written == {
        "thing_pb2.py",
        "thing_pb2.pyi",
        "door_pb2.py",
        "door_pb2.pyi",
        "door_pb2_grpc.py",
        "door_pb2_grpc.pyi",
    }
    assert "from a.v1 import thing_pb2" in (tmp_path / "a/v1/door_pb2.py").read_text()
    assert compiler.compile_protos(tmp_path) == []

    thing.write_text(thing.read_text().replace("string name", "string title"))
    assert compiler.compile_protos(tmp_path)
    assert "title" in (tmp_path / "a/v1/thing_pb2.pyi").read_text()

    (tmp_path / "a/v1/thing_pb2.pyi").unlink()
    assert compiler.compile_protos(tmp_path)
    assert (tmp_path / "a/v1/thing_pb2.pyi").is_file()

    door.unlink()
    compiler.compile_protos(tmp_path)
    assert sorted(path.name for path in (tmp_path / "a/v1").iterdir()) == ["thing_pb2.py", "thing_pb2.pyi"]


def test_a_folder_that_fails_leaves_the_others_and_what_it_had(compiler: ModuleType, tmp_path: Path) -> None:
    bad = _write(tmp_path, "a/v1/bad.proto", "message Bad { string name = 1; }")
    compiler.compile_protos(tmp_path)
    before = (tmp_path / "a/v1/bad_pb2.py").read_text()
    bad.write_text(bad.read_text() + "message Bad {}")
    _write(tmp_path, "b/v1/good.proto", "message Good {}")
    with pytest.raises(compiler.CompileError, match=r"a/v1/bad.proto.*already defined"):
        compiler.compile_protos(tmp_path)
    assert (tmp_path / "a/v1/bad_pb2.py").read_text() == before
    assert (tmp_path / "b/v1/good_pb2.py").is_file()


def test_a_whole_folder_has_its_descriptors_and_comments_in_one_module_each(
    compiler: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "_WHOLE", frozenset({Path("a/v1")}))
    body = (
        "// A thing.\n// Really.\nmessage Thing {\n// Part of it.\nmessage Part {}\nstring name = 1;  // Its name.\n}"
    )
    _write(tmp_path, "a/v1/thing.proto", body)
    _write(tmp_path, "a/v1/able.proto", 'import "a/v1/thing.proto";\nmessage Able { Thing thing = 1; }')
    compiler.compile_protos(tmp_path)
    found: dict[str, object] = {}
    for name in ("descriptors_pb2.py", "comments_pb2.py"):
        exec((tmp_path / "a/v1" / name).read_text(), found)  # noqa: S102 - what was just generated
    assert found["COMMENTS"] == {
        "a.v1.Thing": "A thing. Really.",
        "a.v1.Thing.Part": "Part of it.",
        "a.v1.Thing.name": "Its name.",
    }
    files = found["FILES"]
    assert isinstance(files, tuple)
    # Each after those it needs, and the very bytes of its own module.
    assert [FileDescriptorProto.FromString(file).name for file in files] == ["a/v1/thing.proto", "a/v1/able.proto"]
    assert files[0] == compiler._serialized(tmp_path / "a/v1/thing_pb2.py")
