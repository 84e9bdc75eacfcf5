"""Writes the field numbers of Kubernetes' own protobuf messages, which some clients send, as a compact table.

    python tools/kubernetes_numbers.py DIRECTORY

DIRECTORY holds the modules k8s.io/api and k8s.io/apimachinery, as the Go module proxy has them. Only names, numbers and
types are taken, of the messages that the kinds of this API are made of. To be run when the API's version changes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from grpc_tools import protoc  # type: ignore[import-untyped]

TARGET = Path(__file__).parent.parent / "orchestrator/server/rest/kubernetes_numbers.txt"
GROUPS = (
    "core/v1",
    "apps/v1",
    "authentication/v1",
    "authorization/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "certificates/v1",
    "coordination/v1",
    "discovery/v1",
    "events/v1",
    "networking/v1",
    "node/v1",
    "policy/v1",
    "rbac/v1",
    "scheduling/v1",
    "storage/v1",
)
META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_PREFIXES = ("k8s.io.apimachinery.pkg.apis.", "k8s.io.apimachinery.pkg.", "k8s.io.api.")
LEFT_OUT = ("List", "Status")
_TYPES = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
}


def read(directory: Path) -> dict[str, DescriptorProto]:
    """Every message of the groups, by its full name."""
    with tempfile.TemporaryDirectory() as scratch:
        include = Path(scratch) / "k8s.io"
        include.mkdir()
        for module in ("api", "apimachinery"):
            found = sorted(directory.glob(f"{module}@*"))[-1]
            (include / module).symlink_to(found)
        files = [str(include / "api" / group / "generated.proto") for group in GROUPS]
        output = Path(scratch) / "set"
        arguments = ["protoc", f"-I{scratch}", "--include_imports", f"--descriptor_set_out={output}", *files]
        if protoc.main(arguments):
            raise SystemExit("the messages could not be read")
        described = FileDescriptorSet.FromString(output.read_bytes())
    return dict(_named(described))


def _named(described: FileDescriptorSet) -> Iterator[tuple[str, DescriptorProto]]:
    for file in described.file:
        for message in file.message_type:
            yield f"{file.package}.{message.name}", message


def table(messages: dict[str, DescriptorProto]) -> Iterator[str]:
    """The table: a line for each message with its group, version and name, then one for each field."""
    roots = [
        name
        for name, message in messages.items()
        if any(field.name == "metadata" and field.type_name == f".{META}ObjectMeta" for field in message.field)
        and not name.endswith(LEFT_OUT)
    ]
    waiting, seen = [*roots, f"{META}DeleteOptions"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [_bare(each.type_name) for each in _contents(messages[name])]
    for name in sorted(seen):
        yield short(name)
        for field in sorted(messages[name].field, key=lambda each: each.number):
            yield f" {field.number} {field.name} {_type(messages[name], field)}"


def _contents(message: DescriptorProto) -> Iterator[FieldDescriptorProto]:
    """The fields that are messages, those of maps' values included."""
    entries = {entry.name: entry for entry in message.nested_type}
    for field in message.field:
        if field.type == FieldDescriptorProto.TYPE_MESSAGE:
            entry = entries.get(field.type_name.rpartition(".")[2])
            for each in entry.field if entry is not None else (field,):
                if each.type == FieldDescriptorProto.TYPE_MESSAGE:
                    yield each


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    entry = next((each for each in message.nested_type if field.type_name.endswith(f".{each.name}")), None)
    if entry is not None:
        return f"map {_plain(entry.field[1])}"
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    return f"list {_plain(field)}" if repeated else _plain(field)


def _plain(field: FieldDescriptorProto) -> str:
    return short(_bare(field.type_name)) if field.type == FieldDescriptorProto.TYPE_MESSAGE else _TYPES[field.type]


def _bare(name: str) -> str:
    return name.removeprefix(".")


def short(name: str) -> str:
    """core.v1.Pod for k8s.io.api.core.v1.Pod."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


if __name__ == "__main__":
    lines = list(table(read(Path(sys.argv[1]))))
    TARGET.write_text("\n".join(lines) + "\n")
    print(f"{TARGET}: {len(lines)} lines")
