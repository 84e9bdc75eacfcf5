"""How a container's probes add up: pure.

Single outcomes come in, thresholds turn them into a result, and the results of a container's three probes into what
matters about it: has it started, is it ready, must it be killed. A result holds until the opposite has been seen often
enough in a row, so one slow answer changes nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agents.node.notes import Health
from orchestrator.api.v1 import Container, Probe


class ProbeKind(enum.Enum):
    """The value is the word people see in events."""

    STARTUP = "Startup"
    READINESS = "Readiness"
    LIVENESS = "Liveness"


class Result(enum.Enum):
    UNKNOWN = "unknown"
    SUCCESS = "success"
    FAILURE = "failure"


# What holds until a probe has said something: alive, but neither started nor ready.
_INITIAL = {
    ProbeKind.STARTUP: Result.UNKNOWN,
    ProbeKind.READINESS: Result.FAILURE,
    ProbeKind.LIVENESS: Result.SUCCESS,
}


@dataclass(frozen=True, slots=True)
class ProbeState:
    """What one probe has shown so far: the result that holds, and the run of equal outcomes that may change it."""

    result: Result
    last: bool | None = None
    run: int = 0

    @classmethod
    def initial(cls, kind: ProbeKind, *, passed: bool = False) -> ProbeState:
        """`passed`: it is known from before this agent's start that the probe had succeeded."""
        return cls(Result.SUCCESS if passed else _INITIAL[kind])

    def after(self, probe: Probe, succeeded: bool) -> ProbeState:
        """The state after one more outcome."""
        run = self.run + 1 if self.last is succeeded else 1
        needed = max(probe.success_threshold if succeeded else probe.failure_threshold, 1)
        state = ProbeState(self.result, succeeded, run)
        if run >= needed:
            return replace(state, result=Result.SUCCESS if succeeded else Result.FAILURE)
        return state


def health(results: Mapping[ProbeKind, Result], probes: Mapping[ProbeKind, Probe]) -> Health:
    """What the results of the probes that a container has come to; without probes it is well as soon as it runs."""
    startup = results.get(ProbeKind.STARTUP, Result.SUCCESS)
    readiness = results.get(ProbeKind.READINESS, Result.SUCCESS)
    liveness = results.get(ProbeKind.LIVENESS, Result.SUCCESS)
    started = startup is Result.SUCCESS
    ready = started and readiness is Result.SUCCESS
    failed = None
    if startup is Result.FAILURE:
        failed = ProbeKind.STARTUP
    elif started and liveness is Result.FAILURE:
        failed = ProbeKind.LIVENESS
    if failed is None:
        return Health(started=started, ready=ready)
    probe = probes[failed]
    grace = probe.termination_grace_period_seconds if probe.HasField("termination_grace_period_seconds") else None
    return Health(started=started, ready=ready, fault=f"failed {failed.value.lower()} probe", grace=grace)


def probes_of(container: Container) -> dict[ProbeKind, Probe]:
    """The probes a container has."""
    found = {}
    if container.HasField("startup_probe"):
        found[ProbeKind.STARTUP] = container.startup_probe
    if container.HasField("readiness_probe"):
        found[ProbeKind.READINESS] = container.readiness_probe
    if container.HasField("liveness_probe"):
        found[ProbeKind.LIVENESS] = container.liveness_probe
    return found


@dataclass(slots=True)
class ContainerProbes:
    """The states of one container's probes, and whether each may be made now."""

    probes: Mapping[ProbeKind, Probe]
    states: dict[ProbeKind, ProbeState] = field(default_factory=dict)

    @classmethod
    def begin(cls, container: Container, *, started: bool = False, ready: bool = False) -> ContainerProbes:
        """`started` and `ready` are what was known of this very container before the agent's start."""
        probes = probes_of(container)
        passed = {ProbeKind.STARTUP: started, ProbeKind.READINESS: ready, ProbeKind.LIVENESS: False}
        return cls(probes, {kind: ProbeState.initial(kind, passed=passed[kind]) for kind in probes})

    @property
    def health(self) -> Health:
        return health({kind: state.result for kind, state in self.states.items()}, self.probes)

    def due(self, kind: ProbeKind) -> bool:
        """The startup probe is made until it has succeeded, the others from then on."""
        started = bool(self.health.started)
        return not started if kind is ProbeKind.STARTUP else started

    def observe(self, kind: ProbeKind, succeeded: bool) -> bool:
        """Take in an outcome; returns whether the container's health changed."""
        before = self.health
        self.states[kind] = self.states[kind].after(self.probes[kind], succeeded)
        return self.health != before
