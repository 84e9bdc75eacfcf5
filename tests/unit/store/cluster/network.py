"""Wires between simulated members: messages are late, out of order, lost, repeated, and whole links go down.

Every message crosses as bytes, so that what is tested is what would be sent.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from orchestrator.store.greeting import Greeter
from orchestrator.store.v1.raft_pb2 import Message
from orchestrator.store.wire import Receive


@dataclass(slots=True)
class Weather:
    """How bad every link is."""

    delay: float = 0.001
    """The mean, of an exponential distribution."""
    loss: float = 0.0
    repeat: float = 0.0
    straying: float = 0.0
    """How many messages come very late: up to `far` seconds, which is after elections that they know nothing of."""
    far: float = 1.0


class Network:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.weather = Weather()
        self._down: set[tuple[str, str]] = set()
        self._wires: dict[str, SimulatedWire] = {}
        self._machines: dict[str, int] = {}
        """How often the machine of a name was replaced by a new one."""
        self.sent = 0
        self.observe: Callable[[str, str, Message], None] | None = None
        """Told of each message when it is sent: sender, receiver, message."""
        self.heard: Callable[[str], None] | None = None
        """Told of a member that has just taken in a message."""

    def wire(self, member: str) -> SimulatedWire:
        """A new wire for a member that starts; an earlier one of it is dead."""
        if member in self._wires:
            self._wires[member].alive = False
        self._wires[member] = SimulatedWire(self, member)
        return self._wires[member]

    def replace(self, member: str) -> None:
        """Another machine has the name now: nothing that is on its way from or to the one before reaches it."""
        self._machines[member] = self._machines.get(member, 0) + 1

    def current(self, member: str) -> SimulatedWire | None:
        return self._wires.get(member)

    def cut(self, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """In this direction nothing gets through until `heal`."""
        self._down |= {(sender, receiver) for sender in senders for receiver in receivers}

    def part(self, one: Iterable[str], other: Iterable[str]) -> None:
        one, other = list(one), list(other)
        self.cut(one, other)
        self.cut(other, one)

    def heal(self) -> None:
        self._down.clear()

    def carry(self, sender: str, receiver: str, message: Message) -> None:
        self.sent += 1
        if self.observe is not None:
            self.observe(sender, receiver, message)
        chance, weather = self._chance.random, self.weather
        if weather.loss and chance() < weather.loss:
            return
        copies = 2 if weather.repeat and chance() < weather.repeat else 1
        data = message.SerializeToString()
        machines = self._machines.get(sender), self._machines.get(receiver)
        for _ in range(copies):
            stray = weather.straying and chance() < weather.straying
            delay = chance() * weather.far if stray else self._chance.expovariate(1 / weather.delay)
            asyncio.get_running_loop().call_later(delay, self._deliver, sender, receiver, machines, data)

    def _deliver(self, sender: str, receiver: str, machines: tuple[int | None, int | None], data: bytes) -> None:
        wire = self._wires.get(receiver)
        if machines != (self._machines.get(sender), self._machines.get(receiver)):
            return
        if wire is not None and wire.alive and (sender, receiver) not in self._down:
            wire.deliver(sender, Message.FromString(data))


class SimulatedWire:
    """One run of one member's process, as the others see it."""

    def __init__(self, network: Network, member: str) -> None:
        self._network = network
        self._member = member
        self._receive: Receive | None = None
        self.alive = True
        self._paused = False
        self._unheard: list[tuple[str, Message]] = []

    def start(self, receive: Receive, changed: Callable[[], None], greeter: Greeter) -> None:
        self._receive = receive

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """The network takes names for addresses."""

    def send(self, member: str, message: Message) -> None:
        if self.alive:
            self._network.carry(self._member, member, message)

    def deliver(self, sender: str, message: Message) -> None:
        if self._paused:
            self._unheard.append((sender, message))
        elif self._receive is not None:
            self._receive(sender, message)
            if self._network.heard is not None:
                self._network.heard(self._member)

    def pause(self) -> None:
        """What comes waits, while the process stands still."""
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        unheard, self._unheard = self._unheard, []
        for sender, message in unheard:
            if self.alive:
                self.deliver(sender, message)

    def connected(self, member: str) -> bool:
        return True

    async def close(self) -> None:
        self.alive = False
