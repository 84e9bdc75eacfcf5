"""Sees to it that a container's image is here, as its pull policy says.

What the runtime has said about an image is believed for a few seconds, long enough for a lookup made while the sandbox
starts to serve its containers. Several containers that want the same pull share it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from agents.cri.client import CriClient
from agents.cri.errors import CriError, CriUnavailableError
from agents.cri.v1 import image_pb2 as image
from agents.node.errors import ConfigError
from orchestrator.api.v1 import Container
from orchestrator.clock import Clock

FRESH_SECONDS = 5.0
# The distribution project's grammar of references: [domain/]path[:tag][@digest]. Asked before the runtime, whose words
# for a reference that breaks it would be those of an image that could not be pulled.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"\w[\w.-]{0,127}"
_DIGEST = r"[a-zA-Z][a-zA-Z0-9]*(?:[-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?:{_DOMAIN}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?\Z", re.ASCII)

# Tells people: type, reason, message.
Say = Callable[[str, str, str], None]


class ImageSupply:
    """The images of one runtime."""

    def __init__(self, runtime: CriClient, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._known: dict[str, tuple[float, image.Image]] = {}
        self._pulls: dict[str, asyncio.Task[str]] = {}

    async def look(self, reference: str) -> image.Image | None:
        """The image if it is here."""
        known = self._known.get(reference)
        if known is not None and self._clock.monotonic() - known[0] < FRESH_SECONDS:
            return known[1]
        found = await self._runtime.image_status(reference)
        if found is None:
            self._known.pop(reference, None)
        else:
            self._known[reference] = self._clock.monotonic(), found
        return found

    async def ensure(self, container: Container, say: Say) -> image.Image:
        """The image, pulled if need be. Raises ConfigError with the container's waiting reason."""
        reference, policy = container.image, container.image_pull_policy or "IfNotPresent"
        if not _REFERENCE.match(reference):
            fault = f'couldn\'t parse image name "{reference}": invalid reference format'
            why = f'Failed to apply default image tag "{reference}": {fault}'
            say("Warning", "InspectFailed", why)
            raise ConfigError(why, "InvalidImageName")
        found = await self.look(reference) if policy != "Always" else None
        if found is not None:
            say("Normal", "Pulled", f'Container image "{reference}" already present on machine')
            return found
        if policy == "Never":
            why = f'Container image "{reference}" is not present with pull policy of Never'
            say("Warning", "ErrImageNeverPull", why)
            raise ConfigError(why, "ErrImageNeverPull")
        say("Normal", "Pulling", f'Pulling image "{reference}"')
        begun = self._clock.monotonic()
        try:
            await self._pull(reference)
        except CriUnavailableError:
            raise
        except CriError as error:
            why = f'Failed to pull image "{reference}": {error.message}'
            say("Warning", "Failed", why)
            raise ConfigError(error.message, "ErrImagePull") from error
        found = await self.look(reference)
        if found is None:
            raise ConfigError(f'image "{reference}" was pulled and is not there', "ErrImagePull")
        took = self._clock.monotonic() - begun
        say("Normal", "Pulled", f'Successfully pulled image "{reference}" in {took:.3g}s')
        return found

    async def _pull(self, reference: str) -> None:
        pull = self._pulls.get(reference)
        if pull is None:
            pull = asyncio.ensure_future(self._runtime.pull_image(reference))
            self._pulls[reference] = pull
            pull.add_done_callback(lambda _: self._pulls.pop(reference, None))
            self._known.pop(reference, None)
        # One pod that is deleted meanwhile must not take the pull away from the others.
        await asyncio.shield(pull)

    async def close(self) -> None:
        """Give up the pulls under way."""
        pulls = list(self._pulls.values())
        for pull in pulls:
            pull.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)
