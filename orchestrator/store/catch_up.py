"""Helping followers that need what the leader has no more in memory: entries from the segments, or a whole snapshot.

One piece of work at a time for each follower, started by the engine when it meets one that lags, ended when that piece
is sent; the engine asks again if more is needed. A snapshot goes chunk by chunk, each with its checksum and its place,
and the follower says how much it has: so a transfer that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import google_crc32c

from orchestrator.clock import Clock
from orchestrator.store.errors import StoreCorrupt
from orchestrator.store.files import Files
from orchestrator.store.log import Base, Log
from orchestrator.store.raft import Raft
from orchestrator.store.replication import WINDOW_BYTES, Peer, Replication, take
from orchestrator.store.snapshot import snapshot_name
from orchestrator.store.v1.raft_pb2 import Message, SnapshotChunk, SnapshotReceived

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
_KEPT_SECONDS = 30.0
"""How long what a follower will ask for next stays in the segments, although a snapshot has it."""


class CatchUp:
    def __init__(
        self, files: Files, directory: Path, durable: Log, clock: Clock, *, newest: Callable[[], Base], again: float
    ) -> None:
        """`newest`: the entry the newest snapshot covers; `again`: seconds after which a chunk is sent once more."""
        self._files, self._directory, self._log, self._clock = files, directory, durable, clock
        self._newest = newest
        self._again = again
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._received: dict[str, tuple[int, int]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._needs: dict[str, tuple[int, float]] = {}
        """The entry a follower has got to, and until when what is behind it is kept."""

    def help(self, raft: Raft, replication: Replication, peer: Peer) -> None:
        """Begin to send what this follower needs next, if that is not being done."""
        if peer.name not in self._tasks:
            work = self._help(raft, replication, peer)
            task = asyncio.get_running_loop().create_task(work, name=f"store-catch-up-{peer.name}")
            self._tasks[peer.name] = task
            task.add_done_callback(lambda _: self._tasks.pop(peer.name, None))

    def needed(self) -> int:
        """The entries behind this one are to be kept in the segments: somebody is about to ask for them. Otherwise
        whoever needs longer for a snapshot than it is to the next one would never catch up."""
        now = self._clock.monotonic()
        self._needs = {name: need for name, need in self._needs.items() if need[1] > now}
        return min((index for index, _ in self._needs.values()), default=self._newest().index)

    def _needs_from(self, peer: Peer, index: int) -> None:
        # The entry itself, too: its term is asked for.
        self._needs[peer.name] = (index - 1, self._clock.monotonic() + _KEPT_SECONDS)

    def received(self, member: str, answer: SnapshotReceived) -> None:
        self._received[member] = (answer.last_index, answer.offset)
        if (news := self._news.get(member)) is not None:
            news.set()

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _help(self, raft: Raft, replication: Replication, peer: Peer) -> None:
        try:
            index = peer.next_index
            found = await asyncio.to_thread(self._log.read, index, WINDOW_BYTES, self._newest())
            if found is None:
                await self._send_snapshot(raft, replication, peer)
                return
            previous_term, entries = found
            self._needs_from(peer, index - 1)
            while entries and _is_wanted(raft, replication, peer) and peer.next_index == entries[0][1]:
                page = take(entries, 0)
                entries = entries[len(page) :]
                replication.send(peer, page, raft.commit, self._clock.monotonic(), previous_term)
                previous_term = page[-1][2]
            # What has been sent is to be answered before more is read.
            await self._clock.sleep(self._again / 20)
        except (OSError, StoreCorrupt) as error:
            log.error("%s lags behind and cannot be helped: %s", peer.name, error)
            await self._clock.sleep(self._again)

    async def _send_snapshot(self, raft: Raft, replication: Replication, peer: Peer) -> None:
        base = self._newest()
        try:
            data = await asyncio.to_thread(self._files.read, self._directory / snapshot_name(base.index))
        except FileNotFoundError:
            # A newer one has just taken its place.
            return
        log.info("sending %s the snapshot of entry %d, %d bytes", peer.name, base.index, len(data))
        news = self._news[peer.name] = asyncio.Event()
        offset = 0
        while _is_wanted(raft, replication, peer) and peer.match < base.index:
            piece = data[offset : offset + CHUNK_BYTES]
            chunk = SnapshotChunk(
                last_index=base.index,
                last_term=base.term,
                offset=offset,
                data=piece,
                checksum=google_crc32c.value(piece),
                size=len(data),
            )
            raft.say(peer.name, Message(snapshot_chunk=chunk))
            self._needs_from(peer, base.index)
            news.clear()
            try:
                async with asyncio.timeout(self._again):
                    await news.wait()
            except TimeoutError:
                continue
            index, offset = self._received[peer.name]
            if index != base.index:
                return
            if offset >= len(data):
                peer.match = max(peer.match, base.index)
                peer.go_to(base.index + 1)


def _is_wanted(raft: Raft, replication: Replication, peer: Peer) -> bool:
    """Whether this member leads still, in the same term, and the follower is one still, and in reach."""
    return raft.replication is replication and replication.peers.get(peer.name) is peer and raft.reaches(peer.name)
