"""The power fails: only what was synced is certain. Every acknowledged write must be among it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store import Put, Settings, Store, open_store
from tests.unit.store.disk import FaultyFiles

SETTINGS = Settings(segment_size=8192, snapshot_entries=60)


@pytest.mark.parametrize("seed", range(6))
async def test_every_acknowledged_write_survives_a_power_cut(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    disk = FaultyFiles()
    store = await open_store(tmp_path / "store", clock=SystemClock(), settings=SETTINGS, files=disk)
    acknowledged: dict[str, int] = {}
    cuts: list[tuple[Path, dict[str, int]]] = []

    async def write(writer: int) -> None:
        for number in range(80):
            key = f"/{writer}/{number}"
            result = await store.txn([], [Put(key, bytes(chance.randrange(200)))])
            acknowledged[key] = result.revision
            if chance.random() < 0.03:
                promised = dict(acknowledged)
                target = tmp_path / f"cut-{len(cuts)}"
                cuts.append((target, promised))
                disk.cut_power(tmp_path / "store", target, chance)

    await asyncio.gather(*(write(writer) for writer in range(5)))
    await store.close()
    assert len(cuts) > 3
    for directory, promised in cuts:
        again = await open_store(directory, clock=SystemClock(), settings=SETTINGS)
        found = {item.key: item.mod_revision for item in (await again.range("/")).items}
        assert promised.items() <= found.items()
        await goes_on(again, max(found.values()))
        await again.close()


async def goes_on(store: Store, last: int) -> None:
    """The store's revisions have no gap behind what is there, and it takes writes."""
    assert store.status().revision == last
    assert (await store.txn([], [Put("/after", b"")])).revision == last + 1
