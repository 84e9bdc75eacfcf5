"""A member process that can be harmed: its clock runs wrong and its disk fails, when told so over a control socket.

    python -m tests.cluster.store.faulty_member CONFIG.json CONTROL ARCHIVE

Otherwise it is the member of `tests.store_member`. CONTROL is the path of a Unix socket: one JSON object a line, each
answered by a line when it is done. ARCHIVE is a directory for copies of removed log segments.

    {"step": 3600.0}                 the time of day jumps
    {"drift": 1.05}                  seconds get shorter
    {"power": "sync", "seed": 7}     the power fails: "now", at the next "sync", "append" or "name"
    {"fail_sync": true, "seed": 7} the next sync fails, and what it was to make safe is lost
    {"slow": 0.05}                   every sync takes so much longer
    {"behave": true}                 none of this any more
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

import uvloop

from tests.cluster.store.die_with_parent import die_with_parent
from tests.cluster.store.faulty_disk import FaultyDisk
from tests.cluster.store.skewed_clock import SkewedClock
from tests.store_member import Config, serve


class Control:
    def __init__(self, clock: SkewedClock, disk: FaultyDisk) -> None:
        self._clock, self._disk = clock, disk

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self._do(json.loads(line))
            writer.write(b"done\n")
            await writer.drain()
        writer.close()

    def _do(self, order: dict[str, object]) -> None:
        match order:
            case {"step": float(seconds)}:
                self._clock.step(seconds)
            case {"drift": float(rate)}:
                self._clock.drift(rate)
            case {"power": ("now" | "sync" | "append" | "name") as moment, "seed": int(seed)}:
                self._disk.fail_power(moment, seed)
            case {"fail_sync": True, "seed": int(seed)}:
                self._disk.fail_sync(seed)
            case {"behave": True}:
                self._clock.drift(1.0)
                self._disk.behave()
            case {"slow": float(seconds)}:
                self._disk.sync_takes = seconds
            case _:
                raise ValueError(f"no such fault: {order}")


async def _run(config: Config, control: Path, archive: Path) -> str | None:
    clock, disk = SkewedClock(), FaultyDisk(archive)
    control.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(Control(clock, disk).talk, control)
    async with server:
        return await serve(config, clock=clock, files=disk)


def main() -> int:
    die_with_parent()
    config, control, archive = map(Path, sys.argv[1:])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    try:
        why = uvloop.run(_run(Config.read(config), control, archive))
    except Exception:
        # At once, so that these are the last words: what is taken down in an order of its own has complaints.
        logging.exception("the member fails")
        os._exit(1)
    if why is not None:
        print(why, file=sys.stderr)
    return 0 if why is None else 1


if __name__ == "__main__":
    sys.exit(main())
