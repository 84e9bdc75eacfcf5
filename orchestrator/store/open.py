"""Opening a store: lock, snapshot, log, engine, in that order.

Nothing in the directory is changed before everything in it has been read and found sound, but for the lock file.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store.errors import StoreUnavailable
from orchestrator.store.files import DiskFiles, Files
from orchestrator.store.flusher import Flush, Flusher
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.log import Base, Log
from orchestrator.store.membership import Members
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
    flush: Flush = Flusher,
) -> ReplicatedStore:
    """Open the store in `directory`, made if it is missing.

    Alone, which is the default, it is returned ready. With other `members`, which it talks to over the `wire`, it is
    ready when a majority of them is there: `wait_ready`.

    Raises StoreLocked when another process has it, StoreCorrupt when what is there does not check, StoreUnavailable
    when the directory cannot be read or written.
    """
    settings = settings or Settings()
    files = files or DiskFiles()
    members = members or Members(settings.member)
    if members.others and wire is None:
        raise ValueError("a store of several members needs a wire between them")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DirectoryLock(directory)
    except OSError as error:
        raise StoreUnavailable(f"the store's directory {directory} cannot be used: {error}") from error
    try:
        state, sessions, base, log = await asyncio.to_thread(_recover, files, directory, settings)
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
            state,
            sessions,
            base,
            log,
            files=files,
            clock=clock,
            settings=settings,
            members=members,
            wire=wire or NoWire(),
            chance=chance or random.Random(),
            flush=flush,
        )
    except BaseException:
        log.close()
        lock.release()
        raise
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


def _recover(files: Files, directory: Path, settings: Settings) -> tuple[State, Sessions, Base, Log]:
    snapshot = load_newest(files, directory)
    base = snapshot.base if snapshot else Base()
    state = snapshot.state() if snapshot is not None else State()
    received = received_snapshot(files, directory) is not None
    log = Log.open(files, directory, base, segment_size=settings.segment_size, received=received)
    if received:
        adopt_received(files, directory, base.index)
    remove_older(files, directory)
    for name in files.names(directory):
        if name.endswith(".new"):
            files.remove(directory / name)
    return state, Sessions(snapshot.sessions if snapshot else ()), base, log
