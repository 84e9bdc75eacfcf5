"""What the agent knows of a pod beyond the API and the runtime: failures, health, what is under way.

None of it has to survive the agent. Lost failures are tried once more, lost health is probed again, and what was
under way shows in the runtime. So a restart forgets nothing that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# The name under which a failure of the sandbox is noted: no container is called so.
SANDBOX = ""

IMAGE_REASONS = frozenset({"ErrImagePull", "ErrImageNeverPull", "InvalidImageName"})
# Seconds between attempts: doubling from the first to the longest. What a person has to make first (a ConfigMap, a
# directory) is looked for often: they are waiting.
_PULL_DELAYS = (10.0, 300.0)
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "FailedMount"})
_CONFIG_DELAYS = (1.0, 8.0)
_OTHER_DELAYS = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that could not be done, for the `count`th time in a row."""

    reason: str
    message: str
    at: datetime
    count: int = 1

    @property
    def retry_at(self) -> datetime:
        if self.reason in IMAGE_REASONS:
            first, longest = _PULL_DELAYS
        else:
            first, longest = _CONFIG_DELAYS if self.reason in _CONFIG_REASONS else _OTHER_DELAYS
        return self.at + timedelta(seconds=min(longest, first * 2.0 ** min(self.count - 1, 32)))


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes say of one container; None: they have not said anything yet."""

    started: bool | None = None
    ready: bool | None = None
    # Why it has to be restarted, and the grace period in seconds that the probe gives it, if it gives one.
    fault: str = ""
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The pod is to end, or has ended: its last phase, and why in a word and a sentence."""

    phase: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Notes:
    """`stopping` has the deadlines of containers being stopped, by id; `starting` holds names, the others ids."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    health: Mapping[str, Health] = field(default_factory=dict)
    sandbox_busy: bool = False
    starting: frozenset[str] = frozenset()
    stopping: Mapping[str, datetime] = field(default_factory=dict)
    removing: frozenset[str] = frozenset()
    # The node does not take the pod.
    refused: Verdict | None = None
    # When the agent first saw that the pod is to be deleted.
    deletion_seen: datetime | None = None

    @property
    def busy(self) -> bool:
        return self.sandbox_busy or bool(self.starting or self.stopping or self.removing)
