"""What pods draw from the API: fresh, not asked for twice at once, and still there while the API is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from agents.node.api_sources import FRESH_SECONDS, ApiSources
from orchestrator.api import errors
from orchestrator.api.v1 import ConfigMap, ObjectMeta, Secret, Service
from orchestrator.client import Client, Informer
from orchestrator.clock import FakeClock


@dataclass
class Server:
    config_maps: dict[str, str] = field(default_factory=dict)
    fault: errors.ApiError | None = None
    asked: list[str] = field(default_factory=list)

    async def get(self, kind: type[ConfigMap | Secret], name: str, namespace: str) -> ConfigMap | Secret:
        self.asked.append(f"{kind.__name__} {namespace}/{name}")
        if self.fault is not None:
            raise self.fault
        if kind is Secret or name not in self.config_maps:
            raise errors.NotFound.of("configmaps", name)
        return ConfigMap(metadata=ObjectMeta(name=name), data={"key": self.config_maps[name]})


class Services:
    def __init__(self) -> None:
        self.waited = False

    async def synced(self) -> None:
        self.waited = True

    def list(self, namespace: str) -> Sequence[Service]:
        return [Service(metadata=ObjectMeta(name="web", namespace=namespace))]


@dataclass
class Lab:
    server: Server = field(default_factory=Server)
    services: Services = field(default_factory=Services)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.sources = ApiSources(cast(Client, self.server), self.clock, cast("Informer[Service]", self.services))

    async def value(self, name: str = "settings") -> str | None:
        found = await self.sources.config_map("default", name)
        return None if found is None else found.data["key"]


async def test_a_change_is_seen_after_a_moment() -> None:
    lab = Lab(Server({"settings": "old"}))
    assert await lab.value() == "old"
    lab.server.config_maps["settings"] = "new"
    assert await lab.value() == "old"
    assert lab.server.asked == ["ConfigMap default/settings"]
    lab.clock.advance(FRESH_SECONDS)
    assert await lab.value() == "new"


async def test_one_that_is_made_later_is_found() -> None:
    lab = Lab()
    assert await lab.value() is None
    lab.server.config_maps["settings"] = "new"
    lab.clock.advance(FRESH_SECONDS)
    assert await lab.value() == "new"


async def test_kinds_are_not_confused() -> None:
    lab = Lab(Server({"settings": "old"}))
    await lab.value()
    assert await lab.sources.secret("default", "settings") is None
    assert lab.server.asked == ["ConfigMap default/settings", "Secret default/settings"]


async def test_what_was_read_serves_while_the_server_is_away() -> None:
    lab = Lab(Server({"settings": "old"}))
    await lab.value()
    lab.server.fault = errors.ServiceUnavailable("away")
    lab.clock.advance(3600)
    assert await lab.value() == "old"
    with pytest.raises(errors.ServiceUnavailable):
        await lab.value("never-read")


async def test_that_something_was_missing_is_no_answer_while_the_server_is_away() -> None:
    lab = Lab()
    assert await lab.value() is None
    lab.server.fault = errors.ServiceUnavailable("away")
    lab.clock.advance(FRESH_SECONDS)
    with pytest.raises(errors.ServiceUnavailable):
        await lab.value()


async def test_a_refusal_is_not_covered_up() -> None:
    lab = Lab(Server({"settings": "old"}))
    await lab.value()
    lab.server.fault = errors.Forbidden("no")
    lab.clock.advance(FRESH_SECONDS)
    with pytest.raises(errors.Forbidden):
        await lab.value()


async def test_services_are_those_of_a_synced_cache() -> None:
    lab = Lab()
    assert [each.metadata.namespace for each in await lab.sources.services("default")] == ["default"]
    assert lab.services.waited
