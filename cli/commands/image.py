"""`navctl image`: images of this machine's runtime, for machines that no registry serves."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import click

from cli.failure import Failure
from cli.flags import Group
from orchestrator.paths import Paths

_NAME_ANNOTATION = "io.containerd.image.name"


@click.group(cls=Group)
def image() -> None:
    """Images of this machine."""


_root = click.option(
    "--root", type=click.Path(path_type=Path), default=Path("/"), help="Where all files are (default: /)."
)


@image.command("import")
@_root
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
def import_(root: Path, archives: tuple[Path, ...]) -> None:
    """Import archives, as `docker save` and other builders make them."""
    from agents.cri.client import CriClient
    from agents.cri.errors import CriError
    from agents.cri.images import import_image

    async def work() -> None:
        async with CriClient(Paths(root).containerd_socket) as cri:
            for archive in archives:
                names = references(archive)
                for name in names:
                    await import_image(cri, archive.read_bytes(), name)
                    print(f"image {name} imported")

    try:
        asyncio.run(work())
    except CriError as error:
        raise Failure(f"{error.message} (is the cluster of --root {root} up?)") from error


@image.command("list")
@_root
def list_(root: Path) -> None:
    """List the images that pods can start from without pulling."""
    from agents.cri.client import CriClient
    from agents.cri.errors import CriError
    from cli.output import align

    async def work() -> list[list[str]]:
        async with CriClient(Paths(root).containerd_socket) as cri:
            return [
                [name, found.id.removeprefix("sha256:")[:12], f"{found.size / 1e6:.1f} MB"]
                for found in await cri.list_images()
                for name in found.repo_tags
            ]

    try:
        print(align([["IMAGE", "ID", "SIZE"], *sorted(asyncio.run(work()))]), end="")
    except CriError as error:
        raise Failure(f"{error.message} (is the cluster of --root {root} up?)") from error


def references(archive: Path) -> list[str]:
    """The names of the images in an OCI or docker archive. Raises Failure when there are none."""
    try:
        with tarfile.open(archive) as tar:
            members = set(tar.getnames())
            index = _read(tar, "index.json") if "index.json" in members else {}
            manifest = _read(tar, "manifest.json") if "manifest.json" in members else []
    except (tarfile.TarError, ValueError) as error:
        raise Failure(f"{archive}: not an image archive: {error}") from error
    named = [each.get("annotations", {}).get(_NAME_ANNOTATION) for each in index.get("manifests", [])]
    tagged = [tag for each in manifest for tag in each.get("RepoTags") or []]
    found = list(dict.fromkeys(name for name in (*named, *tagged) if name))
    if not found:
        raise Failure(f"{archive}: no named image in it: give it a name (registry.example/app:1) when it is built")
    return found


def _read(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.extractfile(name)
    return json.load(member) if member is not None else {}
