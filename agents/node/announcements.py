"""Which changes of a pod's status people are told of by an event. Pure.

An event comes when a state begins, not at every look: the status before is what the API has, so an agent that was
started again repeats nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.api.v1 import Pod, PodStatus

_BACK_OFF = "CrashLoopBackOff"


def announcements(pod: Pod, after: PodStatus) -> Iterator[tuple[str, str]]:
    """Reasons and messages for the change from the pod's own status to `after`."""
    before, metadata = pod.status, pod.metadata
    if after.reason and after.reason != before.reason:
        yield after.reason, after.message
    known = {each.name: each for each in (*before.init_container_statuses, *before.container_statuses)}
    for each in (*after.init_container_statuses, *after.container_statuses):
        if each.state.waiting.reason != _BACK_OFF:
            continue
        was = known.get(each.name)
        if was is None or was.state.waiting.reason != _BACK_OFF or was.restart_count != each.restart_count:
            where = f"{metadata.name}_{metadata.namespace}({metadata.uid})"
            yield "BackOff", f"Back-off restarting failed container {each.name} in pod {where}"
