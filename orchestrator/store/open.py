"""Opening a store: lock, snapshot, log, engine, in that order.

Nothing in the directory is changed before everything in it has been read and found sound, but for the lock file.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.clock import Clock
from orchestrator.store.configurations import decode_configuration
from orchestrator.store.errors import StoreUnavailable, WrongIdentity
from orchestrator.store.files import DiskFiles, Files
from orchestrator.store.flusher import Flush
from orchestrator.store.identity import Identity, begin_identity, load_identity, save_identity
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Configuration, Members
from orchestrator.store.memory import give_back, without_collection
from orchestrator.store.replicated import ReplicatedStore
from orchestrator.store.sessions import Sessions
from orchestrator.store.settings import Settings
from orchestrator.store.snapshot import adopt_received, load_newest, received_snapshot, remove_older
from orchestrator.store.state import State
from orchestrator.store.wire import NoWire, Wire


async def open_store(
    directory: Path,
    *,
    clock: Clock,
    settings: Settings | None = None,
    files: Files | None = None,
    members: Members | None = None,
    wire: Wire | None = None,
    chance: random.Random | None = None,
    flush: Flush | None = None,
) -> ReplicatedStore:
    """Open the store in `directory`, made if it is missing.

    Alone, which is the default, it is returned ready. With other `members`, which it talks to over the `wire`, it is
    ready when a majority of them is there: `wait_ready`.

    What is in the directory counts more than what `members` says of the others.

    Raises WrongIdentity when the directory is another member's or another cluster's, StoreLocked when another process
    has it, StoreCorrupt when what is there does not check, StoreUnavailable when the directory cannot be read or
    written.
    """
    settings = settings or Settings()
    files = files or DiskFiles()
    members = members or Members(settings.member)
    if (len(members.initial) > 1 or members.join) and wire is None:
        raise ValueError("a store of several members needs a wire between them")
    chance = chance or random.Random()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DirectoryLock(directory)
    except OSError as error:
        raise StoreUnavailable(f"the store's directory {directory} cannot be used: {error}") from error
    try:
        made_up = f"{chance.getrandbits(64):016x}"
        with without_collection():
            found = await asyncio.to_thread(_recover, files, directory, settings, members, made_up)
    except OSError as error:
        lock.release()
        raise StoreUnavailable(f"the store in {directory} cannot be read: {error}") from error
    except BaseException:
        lock.release()
        raise
    try:
        store = ReplicatedStore(
            directory,
            lock,
            found.state,
            found.sessions,
            found.base,
            found.log,
            files=files,
            clock=clock,
            settings=settings,
            members=members,
            identity=found.identity,
            configuration=found.configuration,
            wire=wire or NoWire(),
            chance=chance,
            flush=flush,
        )
    except BaseException:
        found.log.close()
        lock.release()
        raise
    try:
        with without_collection():
            await store.start()
        await asyncio.to_thread(give_back)
    except BaseException:
        await store.close()
        raise
    return store


_OF_A_STORE: Final = ("log-", "snapshot-", "received-")
"""How the names of files begin that only a directory in use has."""


@dataclass(frozen=True, slots=True)
class _Recovered:
    """What was in the directory."""

    identity: Identity
    configuration: Configuration
    """The one behind which the log begins."""
    state: State
    sessions: Sessions
    base: Base
    log: Log


def _recover(files: Files, directory: Path, settings: Settings, members: Members, made_up: str) -> _Recovered:
    identity = load_identity(files, directory, members)
    if identity is None and members.join and any(name.startswith(_OF_A_STORE) for name in files.names(directory)):
        raise WrongIdentity(f"{directory} is not empty: a member that joins a store begins with an empty directory")
    snapshot = load_newest(files, directory)
    base = snapshot.base if snapshot else Base()
    state = snapshot.state() if snapshot is not None else State()
    configuration = decode_configuration(snapshot.configuration) if snapshot and snapshot.configuration else None
    received = received_snapshot(files, directory) is not None
    log = Log.open(
        files, directory, base, segment_size=settings.segment_size, reserve=settings.reserve, received=received
    )
    if received:
        adopt_received(files, directory, base.index)
    remove_older(files, directory)
    for name in files.names(directory):
        if name.endswith(".new"):
            files.remove(directory / name)
    if identity is None:
        identity = begin_identity(members, made_up)
        save_identity(files, directory, identity)
    sessions = Sessions(snapshot.sessions if snapshot else ())
    return _Recovered(identity, configuration or identity.first(), state, sessions, base, log)
