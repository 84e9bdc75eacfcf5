"""A directory whose files change all at once, in the layout that programs made for Kubernetes watch:

    volume/..data -> ..x7k2p3          the one link whose replacement switches everything
    volume/..x7k2p3/app.conf           the files of now
    volume/app.conf -> ..data/app.conf

A reader sees the old set or the new one. Links come and go after the switch.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from agents.node.projection import ProjectedFile

_DATA = "..data"
_NEXT = "..data_tmp"


def write_directory(directory: Path, files: Mapping[str, ProjectedFile], *, group: int | None = None) -> bool:
    """Makes the directory hold just these files; returns whether anything had to change.

    Paths may have directories in them. With `group`, that group owns the files and can read them.
    """
    if _holds(directory, files, group):
        return False
    before = _current(directory)
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    try:
        _fill(fresh, files, group)
        following = directory / _NEXT
        following.unlink(missing_ok=True)
        following.symlink_to(fresh.name)
        following.rename(directory / _DATA)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link(directory, {path.split("/")[0] for path in files})
    for left in directory.iterdir():
        # What an interrupted run left behind goes too.
        if left.name.startswith("..") and left.name not in (_DATA, fresh.name) and left.is_dir():
            shutil.rmtree(left)
    if before is not None and before != fresh and before.exists():
        shutil.rmtree(before)
    return True


def _current(directory: Path) -> Path | None:
    link = directory / _DATA
    if not link.is_symlink():
        return None
    # Only a neighbour: the link is ours, and what we delete by it must be too.
    return directory / link.readlink().name


def _holds(directory: Path, files: Mapping[str, ProjectedFile], group: int | None) -> bool:
    current = _current(directory)
    if current is None or not current.is_dir():
        return False
    present = {str(path.relative_to(current)): path for path in current.rglob("*") if path.is_file()}
    if present.keys() != files.keys():
        return False
    linked = all((directory / path.split("/")[0]).is_symlink() for path in files)
    return linked and all(
        path.read_bytes() == files[name].content and path.stat().st_mode & 0o7777 == _mode(files[name], group)
        for name, path in present.items()
    )


def _fill(fresh: Path, files: Mapping[str, ProjectedFile], group: int | None) -> None:
    fresh.chmod(0o755)
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.content)
            if group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, _mode(file, group))


def _mode(file: ProjectedFile, group: int | None) -> int:
    return file.mode if group is None else file.mode | 0o440


def _link(directory: Path, names: set[str]) -> None:
    present = {path.name for path in directory.iterdir() if path.is_symlink() and path.name != _DATA}
    for name in sorted(names - present):
        (directory / name).symlink_to(f"{_DATA}/{name}")
    for name in present - names:
        (directory / name).unlink()
