"""Container images made and imported without a registry.

An image here is a set of files, written as an OCI image layout in a tar archive: one layer, a configuration, a
manifest, an index. The same files give the same bytes, and so the same digest, on every machine: names are sorted and
no time or owner of the building machine gets in. containerd takes such archives as they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agents.cri.client import CriClient
from agents.cri.errors import CriError
from agents.cri.pause import pause_program

# containerd keeps the CRI's images apart from those of other users.
NAMESPACE = "k8s.io"
PAUSE_IMAGE = "registry.navarch.dev/pause:1"

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
# Importing unpacks; the CRI learns of the new image right after.
_SEEN_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    mode: int = 0o755


Entry = File | Link | Directory


@dataclass(frozen=True, slots=True)
class ImageSource:
    """What an image consists of. Paths in `files` are absolute; parent directories come by themselves."""

    reference: str
    files: Mapping[str, Entry]
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    machine: str = field(default_factory=platform.machine)


def pause_image(reference: str = PAUSE_IMAGE, machine: str | None = None) -> ImageSource:
    """The image of a sandbox's own process."""
    machine = machine or platform.machine()
    return ImageSource(
        reference, {"/pause": File(pause_program(machine), 0o755)}, entrypoint=["/pause"], machine=machine
    )


def busybox_files(busybox: Path) -> dict[str, Entry]:
    """A root file system around a statically linked busybox: its applets as links, and the usual directories.

    Runs `busybox --list` to learn which applets this one was built with.
    """
    listed = subprocess.run([busybox, "--list"], capture_output=True, check=True, text=True)
    files: dict[str, Entry] = {f"/bin/{applet}": Link("busybox") for applet in listed.stdout.split()}
    files["/bin/busybox"] = File(busybox.read_bytes(), 0o755)
    files["/etc/passwd"] = File(b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    files["/etc/group"] = File(b"root:x:0:\nnogroup:x:65534:\n")
    files["/tmp"] = Directory(0o1777)
    files["/usr/bin"] = Link("../bin")
    files["/sbin"] = Link("bin")
    return files | {name: Directory() for name in ("/root", "/var", "/dev", "/proc", "/sys")}


def build_image(source: ImageSource) -> bytes:
    """The image as an OCI archive."""
    layer = _layer(source.files)
    config = _json(
        {
            "architecture": _ARCHITECTURES.get(source.machine, source.machine),
            "os": "linux",
            "config": {
                "Entrypoint": list(source.entrypoint),
                "Cmd": list(source.command),
                "Env": [f"{name}={value}" for name, value in source.environment.items()],
                "WorkingDir": source.working_directory,
                "User": source.user,
                "Labels": dict(source.labels),
                "StopSignal": source.stop_signal,
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [_descriptor(_LAYER, layer)],
        }
    )
    listed = _descriptor(_MANIFEST, manifest) | {"annotations": {"io.containerd.image.name": source.reference}}
    archive = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"})}
    archive["index.json"] = _json({"schemaVersion": 2, "manifests": [listed]})
    for blob in (manifest, config, layer):
        archive["blobs/sha256/" + _digest(blob).removeprefix("sha256:")] = blob
    return _tar({name: File(content) for name, content in archive.items()})


async def import_image(cri: CriClient, archive: bytes, reference: str) -> None:
    """Hands an archive to containerd and waits until the CRI knows the image by its name."""
    with tempfile.NamedTemporaryFile(prefix="navarch-image-", suffix=".tar") as file:
        await asyncio.to_thread(_write, file.fileno(), archive)
        command = ["ctr", "--namespace", NAMESPACE, "--address", str(cri.socket), "images", "import", file.name]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, errors = await process.communicate()
    if process.returncode:
        raise CriError(f"importing image {reference}: {errors.decode(errors='replace').strip()}")
    await _known(cri, reference)


async def ensure_image(cri: CriClient, source: ImageSource) -> None:
    """Builds and imports an image unless the runtime has one of that name."""
    if await cri.image_status(source.reference) is None:
        archive = await asyncio.to_thread(build_image, source)
        await import_image(cri, archive, source.reference)


async def _known(cri: CriClient, reference: str) -> None:
    try:
        async with asyncio.timeout(_SEEN_WITHIN):
            # There is no call that waits for it.
            while await cri.image_status(reference) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise CriError(
            f'image "{reference}" was imported and the runtime does not list it: is its name complete (host/name:tag)?'
        ) from None


def _write(descriptor: int, content: bytes) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)


def _layer(files: Mapping[str, Entry]) -> bytes:
    entries: dict[str, Entry] = {}
    for path, entry in files.items():
        inside = path.strip("/")
        for parent in Path(inside).parents:
            if str(parent) != ".":
                entries.setdefault(str(parent), Directory())
        # An entry given replaces a directory that was only implied.
        entries[inside] = entry
    return _tar(entries)


def _tar(entries: Mapping[str, Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(entries):
            info = tarfile.TarInfo(name)
            match entries[name]:
                case File(content, mode):
                    info.mode, info.size = mode, len(content)
                    archive.addfile(info, io.BytesIO(content))
                case Link(target):
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
                    archive.addfile(info)
                case Directory(mode):
                    info.type, info.mode = tarfile.DIRTYPE, mode
                    archive.addfile(info)
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
