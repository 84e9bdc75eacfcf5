"""Images: which pull policy does what, what is believed for how long, and what people are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriUnavailableError
from agents.cri.v1 import image_pb2 as image
from agents.node.errors import ConfigError
from agents.node.image_supply import FRESH_SECONDS, ImageSupply
from orchestrator.api.v1 import Container
from orchestrator.clock import FakeClock

WEB = "registry.test/web:v1"


@dataclass
class Registry:
    """A runtime with some images, that can pull others."""

    here: set[str] = field(default_factory=set)
    away: CriError | None = None
    # A pull waits for it.
    open: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0
    pulls: int = 0

    async def image_status(self, reference: str) -> image.Image | None:
        self.looks += 1
        return image.Image(id=f"sha256:{reference}") if reference in self.here else None

    async def pull_image(self, reference: str) -> str:
        self.pulls += 1
        await self.open.wait()
        if self.away is not None:
            raise self.away
        self.here.add(reference)
        return reference


@dataclass
class Lab:
    registry: Registry
    clock: FakeClock
    supply: ImageSupply
    told: list[str] = field(default_factory=list)

    def say(self, kind: str, reason: str, message: str) -> None:
        self.told.append(f"{kind} {reason}: {message}")

    async def ensure(self, reference: str = WEB, policy: str = "IfNotPresent") -> image.Image:
        return await self.supply.ensure(Container(name="main", image=reference, image_pull_policy=policy), self.say)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    registry, clock = Registry(), FakeClock()
    registry.open.set()
    supply = ImageSupply(cast(CriClient, registry), clock)
    yield Lab(registry, clock, supply)
    await supply.close()


@pytest.mark.parametrize(
    ("case", "here", "policy", "pulls", "told"),
    [
        ("here", True, "IfNotPresent", 0, [f'Normal Pulled: Container image "{WEB}" already present on machine']),
        ("not said", True, "", 0, [f'Normal Pulled: Container image "{WEB}" already present on machine']),
        ("never pulled", True, "Never", 0, [f'Normal Pulled: Container image "{WEB}" already present on machine']),
        (
            "missing",
            False,
            "IfNotPresent",
            1,
            [f'Normal Pulling: Pulling image "{WEB}"', f'Normal Pulled: Successfully pulled image "{WEB}" in 0s'],
        ),
        (
            "always pulled",
            True,
            "Always",
            1,
            [f'Normal Pulling: Pulling image "{WEB}"', f'Normal Pulled: Successfully pulled image "{WEB}" in 0s'],
        ),
    ],
)
async def test_policies(lab: Lab, case: str, here: bool, policy: str, pulls: int, told: list[str]) -> None:
    if here:
        lab.registry.here.add(WEB)
    assert (await lab.ensure(policy=policy)).id == f"sha256:{WEB}", case
    assert (lab.registry.pulls, lab.told) == (pulls, told), case


@pytest.mark.parametrize(
    ("case", "reference", "policy", "reason", "event"),
    [
        ("no such image", WEB, "IfNotPresent", "ErrImagePull", "Warning Failed: "),
        ("not here and never pulled", WEB, "Never", "ErrImageNeverPull", "Warning ErrImageNeverPull: "),
        ("no reference at all", "Web Server", "IfNotPresent", "InvalidImageName", "Warning InspectFailed: "),
        ("capitals in a path", "registry.test/Web:1", "IfNotPresent", "InvalidImageName", "Warning InspectFailed: "),
        ("two tags", "registry.test/web:1:2", "IfNotPresent", "InvalidImageName", "Warning InspectFailed: "),
        ("no tag", "registry.test/web:", "IfNotPresent", "InvalidImageName", "Warning InspectFailed: "),
        ("a short digest", "web@sha256:12", "IfNotPresent", "InvalidImageName", "Warning InspectFailed: "),
        ("a line too many", "web:1\n", "IfNotPresent", "InvalidImageName", "Warning InspectFailed: "),
    ],
)
async def test_refusals(lab: Lab, case: str, reference: str, policy: str, reason: str, event: str) -> None:
    lab.registry.away = CriError("manifest unknown")
    with pytest.raises(ConfigError) as refused:
        await lab.ensure(reference, policy)
    assert refused.value.reason == reason, case
    assert not event or lab.told[-1].startswith(event), case


@pytest.mark.parametrize(
    "reference",
    [
        "web",
        "web:V1.0-rc_2",
        "library/web_server.x--y",
        "localhost/web",
        "localhost:5000/a/b/c:1",
        "Registry.Example.com/web",
        "[fe80::1]:5000/web:1",
        f"registry.test/web@sha256:{'0' * 64}",
        f"registry.test/web:1@sha256:{'a' * 64}",
        "0" * 64,
    ],
)
async def test_references_of_all_forms(lab: Lab, reference: str) -> None:
    assert (await lab.ensure(reference, "Always")).id == f"sha256:{reference}"


async def test_the_runtimes_words_reach_people(lab: Lab) -> None:
    lab.registry.away = CriError("manifest unknown")
    with pytest.raises(ConfigError, match="manifest unknown"):
        await lab.ensure()
    assert lab.told[-1] == f'Warning Failed: Failed to pull image "{WEB}": manifest unknown'


async def test_a_runtime_that_is_away_is_no_fault_of_the_image(lab: Lab) -> None:
    lab.registry.away = CriUnavailableError("connection refused")
    with pytest.raises(CriUnavailableError):
        await lab.ensure()


async def test_a_look_is_believed_for_a_moment_only(lab: Lab) -> None:
    lab.registry.here.add(WEB)
    for _ in range(5):
        await lab.ensure()
    assert lab.registry.looks == 1
    lab.clock.advance(FRESH_SECONDS)
    await lab.ensure()
    assert lab.registry.looks == 2


async def test_that_an_image_is_missing_is_not_believed_at_all(lab: Lab) -> None:
    assert await lab.supply.look(WEB) is None
    lab.registry.here.add(WEB)
    assert await lab.supply.look(WEB) is not None


async def test_pulls_are_shared_and_outlive_those_who_asked(lab: Lab) -> None:
    lab.registry.open.clear()
    first, second = (asyncio.create_task(lab.ensure()) for _ in range(2))
    await lab.clock.settle()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    lab.registry.open.set()
    assert (await second).id
    assert lab.registry.pulls == 1


async def test_a_pull_that_fails_when_nobody_waits_any_more_makes_no_noise(lab: Lab) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    lab.registry.open.clear()
    lab.registry.away = CriError("manifest unknown")
    asking = asyncio.create_task(lab.ensure())
    await lab.clock.settle()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    lab.registry.open.set()
    await lab.clock.settle()
    # The next attempt is a new one.
    with pytest.raises(ConfigError):
        await lab.ensure()
    assert lab.registry.pulls == 2
    assert complaints == []


async def test_closing_gives_pulls_up(lab: Lab) -> None:
    lab.registry.open.clear()
    asking = asyncio.create_task(lab.ensure())
    await lab.clock.settle()
    await lab.supply.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
