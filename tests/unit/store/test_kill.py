"""kill -9 at any moment: what was acknowledged is there, at the revision that was said; nothing else is half there."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.store import open_store

ROOT = Path(__file__).parents[3]


async def write_and_be_killed(directory: Path, run: int, acknowledgements: int) -> list[tuple[str, str, int]]:
    """What a writing process had acknowledged before it was killed, in order."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.store.writer",
        str(directory),
        str(run),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(acknowledgements)]
    process.kill()
    rest = await process.stdout.read()
    await process.wait()
    lines += rest.splitlines(keepends=True)
    assert len(lines) >= acknowledgements
    acknowledged = []
    for line in lines:
        if line.endswith(b"\n"):
            key, value, revision = line.decode().split()
            acknowledged.append((key, value, int(revision)))
    return acknowledged


async def test_every_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    """Several lives on one directory, with snapshots and segment changes in each; the kills fall where they fall."""
    moments = random.Random(20261122)
    expected: dict[str, tuple[str, int]] = {}
    last_revision = 1
    for run in range(4):
        acknowledged = await write_and_be_killed(tmp_path, run, moments.randrange(300, 2500))
        assert acknowledged
        revisions = [revision for _, _, revision in acknowledged]
        assert len(set(revisions)) == len(revisions), "a revision was given to two writes"
        assert min(revisions) > last_revision, "a revision was given again after a restart"
        for key, value, revision in acknowledged:
            expected[key] = (value, revision)
        store = await open_store(tmp_path, clock=SystemClock())
        now = store.status().revision
        assert now >= max(revisions)
        for key, (value, revision) in expected.items():
            found = await store.get(key)
            if found is not None and found.mod_revision > revision:
                continue  # a later write of the same key got to the disk but not to the acknowledgement
            if value == "-":
                assert found is None, key
            elif found is None:
                # Only a deletion that was not acknowledged any more can explain it.
                gone = await store.get("/deleted")
                assert gone is not None
                assert gone.mod_revision > revision
            else:
                assert (found.value.decode(), found.mod_revision) == (value, revision)
        last_revision = now
        await store.close()
    assert len(list(tmp_path.glob("snapshot-*"))) == 1, "the run was meant to go through snapshots"
