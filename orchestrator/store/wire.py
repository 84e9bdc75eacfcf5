"""What carries messages between members, as the engine sees it.

A wire may lose, delay, repeat and reorder: Raft stands that. It must never say that a message comes from somebody it
does not come from. `grpc_wire` is the real one; a cluster of one has `NoWire`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from orchestrator.store.greeting import Greeter
from orchestrator.store.v1.raft_pb2 import Message

Receive = Callable[[str, Message], None]
"""Called on the event loop with the sender's name, which the wire has verified, and what it said."""


class Wire(Protocol):
    def start(self, receive: Receive, changed: Callable[[], None], greeter: Greeter) -> None:
        """Begin to deliver; `changed` is called when a member becomes reachable; `greeter` says whom to let in."""

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """The other members and their addresses, from now on."""

    def send(self, member: str, message: Message) -> None:
        """Never waits. What cannot be sent is dropped."""

    def connected(self, member: str) -> bool:
        """Whether sending makes sense now."""

    async def close(self) -> None: ...


class NoWire:
    """The wire of a cluster of one: nobody to hear from, nobody to talk to."""

    def start(self, receive: Receive, changed: Callable[[], None], greeter: Greeter) -> None:
        """There is nothing to begin."""

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """There is no way to them."""

    def send(self, member: str, message: Message) -> None:
        """There is nobody to send to."""

    def connected(self, member: str) -> bool:
        return False

    async def close(self) -> None:
        """There is nothing open."""
