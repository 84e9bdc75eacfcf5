"""Lifecycle hooks: what a container is told right after its start, and before its end."""

from __future__ import annotations

import math

from agents.cri.client import CriClient
from agents.node.probe_handlers import Outcome, ProbeSkippedError, Target, http_get, run_command
from orchestrator.api.v1 import LifecycleHandler
from orchestrator.clock import Clock, within

# A hook after the start has no limit of its own; one that takes longer than this never ends.
LONGEST_SECONDS = 3600.0


async def run_hook(
    runtime: CriClient, clock: Clock, handler: LifecycleHandler, target: Target, seconds: float = LONGEST_SECONDS
) -> Outcome:
    """Carries a hook out; one that isn't done within `seconds` has failed."""
    try:
        return await within(clock, seconds, _run(runtime, clock, handler, target, seconds))
    except TimeoutError:
        return Outcome(False, f"not done within {seconds:g} s")
    except ProbeSkippedError as error:
        return Outcome(False, str(error))


async def _run(runtime: CriClient, clock: Clock, handler: LifecycleHandler, target: Target, seconds: float) -> Outcome:
    if handler.HasField("exec"):
        return await run_command(runtime, target.container_id, handler.exec.command, max(1, math.ceil(seconds)))
    if handler.HasField("http_get"):
        return await http_get(target, handler.http_get)
    if handler.HasField("sleep"):
        await clock.sleep(float(handler.sleep.seconds))
    return Outcome(True)
