"""Which changes of status are told: each state once, when it begins."""

from __future__ import annotations

import pytest

from agents.node.announcements import announcements
from orchestrator.api.v1 import Pod, PodStatus

BACK_OFF = ("BackOff", "Back-off restarting failed container main in pod web_default(u1)")


def status(waiting: str = "", restarts: int = 0, *, init: bool = False, reason: str = "") -> PodStatus:
    made = PodStatus(reason=reason, message=f"because of {reason}" if reason else "")
    each = (made.init_container_statuses if init else made.container_statuses).add(name="main", restart_count=restarts)
    if waiting:
        each.state.waiting.reason = waiting
    else:
        each.state.running.SetInParent()
    return made


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (PodStatus(), status(), []),
        (status(), status("ContainerCreating"), []),
        (status(), status("CrashLoopBackOff", 1), [BACK_OFF]),
        (PodStatus(), status("CrashLoopBackOff", 1), [BACK_OFF]),
        (status("CrashLoopBackOff", 1), status("CrashLoopBackOff", 1), []),
        # What ran in between was too short to be seen.
        (status("CrashLoopBackOff", 1), status("CrashLoopBackOff", 2), [BACK_OFF]),
        (status(init=True), status("CrashLoopBackOff", 1, init=True), [BACK_OFF]),
        (status(), status(reason="Evicted"), [("Evicted", "because of Evicted")]),
        (status(reason="Evicted"), status(reason="Evicted"), []),
        (status(reason="NodeLost"), status(), []),
    ],
)
def test_each_state_is_told_when_it_begins(before: PodStatus, after: PodStatus, told: list[tuple[str, str]]) -> None:
    pod = Pod(status=before)
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = "web", "default", "u1"
    assert list(announcements(pod, after)) == told
