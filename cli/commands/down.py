"""`navctl down`: ends the daemons and the pods of this machine; what the cluster knows stays for the next `up`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import click

from agents.cri.leftovers import clean_up
from agents.mounting import unmount_below
from agents.network.configuration import TABLE as NETWORK_TABLE
from agents.nftables import Nftables, remove_table
from agents.proxy.ruleset import TABLE as PROXY_TABLE
from cli import machine, supervisor
from cli.failure import Failure
from cli.orphans import end_orphans
from cli.progress import Progress
from orchestrator.paths import Paths

# More than the supervisor needs when every daemon hangs.
STOP_SECONDS = 150.0
LOOK_AGAIN_SECONDS = 0.05


@click.command()
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Where all files are (default: /).")
@click.option("--purge", is_flag=True, help="Remove the cluster's state, certificates and images too.")
def down(root: Path, purge: bool) -> None:
    """Stop the cluster on this machine: its daemons, its pods, its network rules."""
    if found := machine.obstacles():
        raise Failure("\n".join(found))
    paths = Paths(root)
    progress = Progress()
    with progress.step("daemons and pods"):
        lock = take_over(paths)
        end_orphans(paths.run)
    with progress.step("what they left"):
        asyncio.run(clean_up(paths))
        unmount_below(paths.node)
    with progress.step("network"):
        Nftables().run(remove_table(PROXY_TABLE) + remove_table(NETWORK_TABLE))
    if purge:
        with progress.step("files"):
            remove_files(paths)
    if lock is not None:
        supervisor.release_lock(paths.run, lock)


def take_over(paths: Paths) -> int | None:
    """Ends the supervisor, and with it the daemons, and returns its lock: until that is closed nobody starts another
    where we clean up. None when there never was one."""
    if not paths.run.exists():
        return None
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            return supervisor.hold_lock(paths.run)
        except BlockingIOError:
            # A supervisor, or another command that starts or removes one and will be done in a moment.
            found = supervisor.holder(paths.run)
        if found is not None and not found[1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGTERM)
        if time.monotonic() > deadline:
            whom = f"the supervisor (process {found[0]})" if found else "another navctl"
            raise Failure(f"{whom} has not ended in {STOP_SECONDS:g} s: see {paths.log}")
        time.sleep(LOOK_AGAIN_SECONDS)


def remove_files(paths: Paths) -> None:
    for directory in (paths.lib, paths.run, paths.log, paths.etc):
        shutil.rmtree(directory, ignore_errors=True)
