"""`navctl up`: the whole cluster on this machine, ready when it returns.

It checks what the machine has, makes the certificates, writes the table of processes and leaves them to a supervisor
of their own; then it watches until the node is Ready. Called again, it finds everything running and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from cli import machine, supervisor
from cli.daemons import HEALTH_PORTS, REST_PORT, SERVER_PORT, STORE_PORT, Settings, make_credentials
from cli.durations import DURATION
from cli.failure import Failure
from cli.members import check_address, read_members
from cli.orphans import end_orphans
from cli.progress import Progress
from orchestrator import kubeconfig
from orchestrator.api import errors
from orchestrator.api.conventions import LEASE_NAMESPACE
from orchestrator.api.kinds import K, kind_of
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import Lease, Node
from orchestrator.client import ChangeType, Client
from orchestrator.kubeconfig import Connection
from orchestrator.paths import Paths

# One interpreter for the control plane, and one each for what must outlive the other's failures.
PROCESSES = (("server", "scheduler", "controllers"), ("network", "proxy"), ("node",))
LAST_LINES = 12
# How long another command or an ending supervisor may hold the place.
PLACE_SECONDS = 150.0
LOOK_AGAIN_SECONDS = 0.05
# Containers write their logs into pipes that containerd reads: one that writes much stands still soon after it is gone.
LONGEST_RUNTIME_PAUSE = 1.0
# A running agent has renewed its lease within this time.
LEASE_SECONDS = 40


@click.command()
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Where all files go (default: /).")
@click.option("--node-name", default=machine.node_name, help="This machine's name (default: the host name).")
@click.option("--node-address", default="", help="This machine's address (default: that of the default route).")
@click.option("--port", type=click.IntRange(1, 65535), default=SERVER_PORT, help="The API server's port.")
@click.option(
    "--rest-listen",
    default=f"0.0.0.0:{REST_PORT}",
    help="Where kubectl and other Kubernetes clients are served (empty: nowhere).",
)
@click.option(
    "--containerd-socket", type=click.Path(path_type=Path), help="Use this runtime instead of one of our own."
)
@click.option("--store-listen", default=f"0.0.0.0:{STORE_PORT}", help="Where the stores of other API servers call.")
@click.option("--store-address", default="", help="Where they reach this one (default: the node's address).")
@click.option("--store-members", default="", help="The first API servers of a new cluster: n1=10.0.0.1:7444,n2=...")
@click.option("--store-join", is_flag=True, help="Join a cluster that has added this machine by `navctl member add`.")
@click.option("--timeout", type=DURATION, default=60.0, help="How long to wait for the node to be Ready.")
def up(
    root: Path,
    node_name: str,
    node_address: str,
    port: int,
    rest_listen: str,
    containerd_socket: Path | None,
    store_listen: str,
    store_address: str,
    store_members: str,
    store_join: bool,
    timeout: float,
) -> None:
    """Start a cluster on this machine and wait until its node is Ready."""
    if found := machine.obstacles():
        raise Failure("\n".join(found))
    if store_members and store_join:
        raise Failure("--store-members begins a cluster and --store-join waits for one: give one of them")
    settings = Settings(
        paths=Paths(root),
        node_name=node_name,
        node_address=node_address or machine.node_address(),
        listen=f"0.0.0.0:{port}",
        rest_listen=check_address(rest_listen, everywhere=True) if rest_listen else "",
        containerd_socket=containerd_socket,
        store_listen=check_address(store_listen, everywhere=True),
        store_address=check_address(store_address) if store_address else "",
        store_members=read_members(store_members, node_name),
        store_join=store_join,
    )
    paths = settings.paths
    progress = Progress()
    lock = _take_place(paths)
    with progress.step("certificates"):
        make_credentials(settings)
    began = datetime.now(UTC)
    if lock is None:
        began -= timedelta(seconds=LEASE_SECONDS)
    else:
        with progress.step("daemons"):
            start_daemons(settings, lock)
    connection = kubeconfig.load(paths.kubeconfig("admin"))
    try:
        asyncio.run(_until_ready(connection, node_name, began, timeout, progress))
    except TimeoutError:
        raise Failure(_why_not(paths, timeout)) from None
    progress.say("The cluster is ready." if lock is not None else "The cluster was running already, and is ready.")
    if paths.root != Path("/"):
        progress.say(f"  export KUBECONFIG={paths.kubeconfig('admin')}")
    progress.say("  navctl get nodes")


def start_daemons(settings: Settings, lock: int) -> None:
    """Starts the supervisor with its table of processes and hands it the lock. Raises Failure when a port is taken."""
    paths = settings.paths
    for directory in (paths.log, paths.lib):
        directory.mkdir(parents=True, exist_ok=True)
    end_orphans(paths.run)
    ports = [
        int(settings.listen.rpartition(":")[2]),
        int(settings.store_listen.rpartition(":")[2]),
        *([int(settings.rest_listen.rpartition(":")[2])] if settings.rest_listen else []),
        settings.node_port,
        *(HEALTH_PORTS[names[0]] for names in PROCESSES),
    ]
    if taken := machine.taken_ports(ports):
        listed = ", ".join(map(str, taken))
        raise Failure(
            f"something else listens on port {listed}: end it (`ss -lntp` names it); "
            "the API server's ports can also be others (--port, --rest-listen), and that of its store (--store-listen)"
        )
    table = paths.run / "processes.json"
    supervisor.write_table(table, list(programs(settings)))
    places = [f"--table={table}", f"--run={paths.run}", f"--logs={paths.log}", f"--lock={lock}"]
    with (paths.log / "supervisor.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "cli.supervisor", *places],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
        )
    os.close(lock)


def _take_place(paths: Paths) -> int | None:
    """The supervisor's lock, or None when a supervisor has it that means to stay. One that is ending is waited for."""
    deadline = time.monotonic() + PLACE_SECONDS
    while True:
        try:
            return supervisor.hold_lock(paths.run)
        except BlockingIOError:
            # Else one that has just been started or is ending, or a `navctl down` that cleans up: soon decided.
            found = supervisor.holder(paths.run)
            if found is not None and not found[1]:
                return None
        if time.monotonic() > deadline:
            raise Failure(f"another navctl has been starting or stopping the daemons for {PLACE_SECONDS:g} s")
        time.sleep(LOOK_AGAIN_SECONDS)


def programs(settings: Settings) -> Iterator[supervisor.Program]:
    """The rows of the supervisor's table, in the order of their start."""
    if settings.containerd_socket is None:
        from agents.cri.containerd import ContainerdProcess, Machine

        containerd = ContainerdProcess(settings.paths, Machine.detect(machine.cni_directory()))
        stop = [sys.executable, "-m", "cli.stop_pods", str(settings.paths.containerd_socket)]
        yield supervisor.Program("containerd", containerd.prepare(), stop, LONGEST_RUNTIME_PAUSE)
    for names in PROCESSES:
        arguments = [
            f"--root={settings.paths.root}",
            f"--node-name={settings.node_name}",
            f"--node-address={settings.node_address}",
            f"--listen={settings.listen}",
            f"--rest-listen={settings.rest_listen}",
            f"--health-address=127.0.0.1:{HEALTH_PORTS[names[0]]}",
            *(store_arguments(settings) if "server" in names else []),
            *([f"--containerd-socket={settings.containerd_socket}"] if settings.containerd_socket else []),
        ]
        yield supervisor.Program(names[0], [sys.executable, "-m", "cli.navarch", ",".join(names), *arguments])


def store_arguments(settings: Settings) -> Iterator[str]:
    """What the API server is told of its store."""
    yield f"--store-listen={settings.store_listen}"
    if settings.store_address:
        yield f"--store-address={settings.store_address}"
    if settings.store_members:
        members = ",".join(f"{name}={address}" for name, address in settings.store_members.items())
        yield f"--store-members={members}"
    if settings.store_join:
        yield "--store-join"


async def _until_ready(
    connection: Connection, node_name: str, began: datetime, timeout: float, progress: Progress
) -> None:
    """Returns when this machine's server answers and the node is Ready, as told since `began`. Raises TimeoutError."""
    async with asyncio.timeout(timeout), Client.connect(connection) as client:
        with progress.step("API server"):
            # Others may serve, and the node be well with them, while this one does not come up.
            async with Client.connect(own_server(connection)) as own:
                await own.connected()
            await client.connected()
        with progress.step(f"node {node_name}"):
            # What the cluster remembers may be of an earlier run: the agent of this one renews its lease first.
            await _watch_until(client, Lease, node_name, lambda lease: to_datetime(lease.spec.renew_time) >= began)
            await _watch_until(client, Node, node_name, is_ready)


def own_server(connection: Connection) -> Connection:
    """To the first server of a kubeconfig: its own machine's."""
    return dataclasses.replace(connection, address=connection.address.partition(",")[0])


async def _watch_until(client: Client, kind: type[K], name: str, reached: Callable[[K], bool]) -> None:
    namespace = LEASE_NAMESPACE if kind_of(kind).namespaced else ""
    while True:
        with contextlib.suppress(errors.ServiceUnavailable, errors.Expired):
            changes = client.watch(kind, namespace=namespace, field_selector=f"metadata.name={name}", bookmarks=False)
            async with contextlib.aclosing(changes):
                async for change in changes:
                    if change.type is not ChangeType.DELETED and reached(change.object):
                        return
            await client.connected()


def is_ready(node: Node) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)


def _why_not(paths: Paths, timeout: float) -> str:
    """What the daemons last said, for the one who has to find out."""
    lines = [f"the cluster is not ready after {timeout:g} s. The daemons go on trying; this is what they said last:"]
    for log in sorted(paths.log.glob("*.log")):
        said = log.read_text(errors="replace").splitlines()
        lines += [f"  {log}:", *(f"    {line}" for line in said[-LAST_LINES:])]
    return "\n".join(lines)
