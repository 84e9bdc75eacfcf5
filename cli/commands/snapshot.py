"""`navctl snapshot`: everything the cluster knows in one file: saved from a running store, restored into a new one.

A saved file appears under its name only when it is whole and has been checked. Restoring makes the data directory of a
new cluster; it never touches one that has anything in it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import machine
from cli.commands.store import size
from cli.failure import Failure
from cli.flags import Command, Group
from cli.members import read_members
from cli.output import align, read_format, show_document
from cli.progress import Progress
from cli.store_session import run
from cli.target import Target, target_options
from orchestrator.paths import Paths
from orchestrator.server.directory import PREFIX as SERVERS
from orchestrator.store import StoreError, offline
from orchestrator.store.store_client import StoreClient

if TYPE_CHECKING:
    from cli.jsonpath import Json

STORE_PORT = 7444


@click.group(cls=Group)
def snapshot() -> None:
    """Everything the cluster knows, in one file."""


@snapshot.command(cls=Command)
@target_options
@click.argument("file", type=click.Path(path_type=Path))
def save(target: Target, file: Path) -> None:
    """Save a snapshot of the running store to FILE, which is replaced if it is there."""
    if file.is_dir():
        raise Failure(f"{file} is a directory: name a file")
    if not file.parent.is_dir():
        raise Failure(f"there is no directory {file.parent}")
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    fresh = Path(name)
    progress = Progress()
    try:
        with os.fdopen(handle, "wb") as out:
            with progress.step("saving") as moved:

                async def work(client: StoreClient) -> None:
                    async for piece in client.save_snapshot():
                        await asyncio.to_thread(out.write, piece.data)
                        moved(f"{size(piece.offset + len(piece.data))} of {size(piece.size)}")

                run(target, work)
            out.flush()
            os.fsync(out.fileno())
        with progress.step("checking"):
            found = _inspected(fresh)
        fresh.replace(file)
        _sync_directory(file.parent)
    finally:
        fresh.unlink(missing_ok=True)
    print(f"{file} saved: revision {found.revision}, {found.keys} keys, {size(file.stat().st_size)}")


@snapshot.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
def verify(file: Path) -> None:
    """Check every byte of a saved snapshot."""
    found = _inspected(file)
    print(f"{file} is sound: revision {found.revision}, {found.keys} keys")


@snapshot.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", help="wide, yaml, json or jsonpath=TEMPLATE.")
def status(file: Path, output: str | None) -> None:
    """What is in a saved snapshot."""
    shape = read_format(output)
    found = _inspected(file)
    if shape.is_table:
        rows = [["REVISION", "KEYS", "DB SIZE", "FILE SIZE"], [str(found.revision), str(found.keys)]]
        rows[1] += [size(found.db_size), size(found.file_size)]
        if shape.name == "wide":
            rows[0] += ["INDEX", "TERM", "LEASES", "MEMBERS"]
            rows[1] += [str(found.index), str(found.term), str(found.leases), ",".join(found.members) or "<none>"]
        sys.stdout.write(align(rows))
    else:
        sys.stdout.write(show_document(_document(found), shape))


@snapshot.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(path_type=Path), default=Path("/"), help="Where all files go (default: /).")
@click.option("--node-name", default=machine.node_name, help="This machine's name (default: the host name).")
@click.option("--store-address", default="", help="Where other members will reach this one: HOST:7444.")
@click.option("--store-members", default="", help="For a cluster of several: n1=10.0.0.1:7444,n2=10.0.0.2:7444,...")
def restore(file: Path, root: Path, node_name: str, store_address: str, store_members: str) -> None:
    """Make the data directory of a new cluster from a saved snapshot."""
    paths = Paths(root)
    initial = read_members(store_members, node_name)
    if any(paths.store.glob("*")):
        raise Failure(
            f"{paths.store} is not empty: end the server that uses it (navctl down), and move the directory away first"
        )
    address = store_address or initial.get(node_name, "")
    try:
        with Progress().step("restoring"):
            # Where the old cluster's servers are is no business of the new one's clients.
            found = offline.restore(
                file, paths.store, member=node_name, address=address, initial=initial, without=SERVERS
            )
    except StoreError as error:
        raise Failure(f"{file}: {error}") from error
    print(f"{paths.store} made from {file}: revision {found.revision}, {found.keys} keys, a cluster of its own\n")
    print(how_to_start(root, node_name, store_address, store_members, initial, file))


def how_to_start(root: Path, node_name: str, address: str, members: str, initial: Mapping[str, str], file: Path) -> str:
    """The next steps, as commands."""
    flags = "".join(
        f" {flag} {value}"
        for flag, value in (
            ("--root", "" if root == Path("/") else str(root)),
            ("--node-name", node_name),
            ("--store-address", address),
            ("--store-members", members),
        )
        if value
    )
    start = f"Start it here:\n  navctl up{flags}"
    others = [name for name in initial if name != node_name]
    if not others:
        return f"{start}\nOther members are added to it then: navctl member add NAME HOST:{STORE_PORT}"
    return (
        f"On {', '.join(others)} restore the same file before any of them is started, with the name of each:\n"
        f"  navctl snapshot restore {file.name} --node-name NAME --store-members {members}\n"
        f"with the same ca.crt and ca.key in /etc/navarch/pki on all. {start}"
    )


def _inspected(file: Path) -> offline.Described:
    try:
        return offline.inspect(file)
    except StoreError as error:
        raise Failure(f"{file}: {error}") from error


def _document(found: offline.Described) -> Json:
    return {
        "revision": found.revision,
        "keys": found.keys,
        "dbSize": found.db_size,
        "fileSize": found.file_size,
        "index": found.index,
        "term": found.term,
        "leases": found.leases,
        "members": list(found.members),
    }


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
