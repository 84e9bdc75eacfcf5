"""`navctl down`: ends the daemons and the pods of this machine; what the cluster knows stays for the next `up`."""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
from pathlib import Path

import click

from agents.cri.leftovers import clean_up
from agents.mounting import unmount_below
from agents.network.configuration import TABLE as NETWORK_TABLE
from agents.nftables import Nftables, remove_table
from agents.proxy.ruleset import TABLE as PROXY_TABLE
from cli import machine, supervisor
from cli.failure import Failure
from cli.progress import Progress
from orchestrator.paths import Paths

STOP_SECONDS = 90.0


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
        stop_supervisor(paths)
    with progress.step("what they left"):
        asyncio.run(clean_up(paths))
        unmount_below(paths.node)
    with progress.step("network"):
        Nftables().run(remove_table(PROXY_TABLE) + remove_table(NETWORK_TABLE))
    if purge:
        with progress.step("files"):
            remove_files(paths)


def stop_supervisor(paths: Paths) -> None:
    """Ends the supervisor, and with it the daemons. Returns when it is gone; nothing to do when it is."""
    try:
        pid = int(supervisor.pid_file(paths.run, "supervisor").read_text())
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        if not _is_supervisor(pid):
            return
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], STOP_SECONDS)[0]:
            raise Failure(f"the supervisor (process {pid}) has not ended in {STOP_SECONDS:g} s: see {paths.log}")
    finally:
        os.close(descriptor)


def _is_supervisor(pid: int) -> bool:
    """Whether a process is ours: after a crash the number may be someone else's."""
    try:
        return b"cli.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def remove_files(paths: Paths) -> None:
    for directory in (paths.lib, paths.run, paths.log, paths.etc):
        shutil.rmtree(directory, ignore_errors=True)
