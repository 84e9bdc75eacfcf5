"""The faulty disk loses what a disk may lose when its power fails, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.store.faulty_disk import SECTOR, FaultyDisk

SAFE = bytes(range(1, 251)) * 8
UNSAFE = b"x" * (10 * SECTOR)

_CHILD = """
import sys
from pathlib import Path
from tests.cluster.store.faulty_disk import FaultyDisk
from tests.cluster.store.test_faulty_disk import SAFE, UNSAFE
directory, moment, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
disk = FaultyDisk(directory.parent)
old = disk.create(directory / "log-old")
old.append(SAFE)
old.sync()
file = disk.create(directory / "log.new")
file.append(SAFE)
file.sync()
disk.sync_directory(directory)
disk.rename(directory / "log.new", directory / "log")
disk.sync_directory(directory)
disk.remove(directory / "log-old")
if moment == "append":
    disk.fail_power("append", seed)
file.append(UNSAFE)
if moment == "sync":
    disk.fail_power("sync", seed)
    file.sync()
disk.fail_power("now", seed)
"""


def after_power_failed(directory: Path, moment: str, seed: int) -> bytes:
    """What the file holds. One that was removed is gone, or whole."""
    directory.mkdir()
    done = subprocess.run([sys.executable, "-c", _CHILD, str(directory), moment, str(seed)], check=False)
    assert done.returncode == -signal.SIGKILL
    old = directory / "log-old"
    assert not old.exists() or old.read_bytes() == SAFE
    return (directory / "log").read_bytes()


@pytest.mark.parametrize("moment", ["now", "sync", "append"])
def test_what_was_synced_is_kept_and_the_rest_may_be_lost(tmp_path: Path, moment: str) -> None:
    rests = set()
    for seed in range(3):
        content = after_power_failed(tmp_path / str(seed), moment, seed)
        assert content[: len(SAFE)] == SAFE
        assert set(content[len(SAFE) :]) <= {0, ord("x")}
        rests.add(content[len(SAFE) :])
    assert len(rests) > 1, "the seeds make a difference"
    assert rests != {UNSAFE}


def test_a_failed_sync_loses_what_it_was_to_keep_for_good(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path)
    file = disk.create(tmp_path / "file")
    file.append(SAFE)
    file.sync()
    lost = 0
    for seed in range(4):
        file.append(UNSAFE)
        disk.fail_sync(seed)
        with pytest.raises(OSError, match="injected"):
            file.sync()
        lost += UNSAFE not in (tmp_path / "file").read_bytes()
    assert lost
    assert (tmp_path / "file").read_bytes()[: len(SAFE)] == SAFE
