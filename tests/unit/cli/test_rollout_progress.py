"""How far an update is, in kubectl's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.rollout_progress import RolloutFailed, progress_of
from orchestrator.api.conventions import REVISION
from orchestrator.api.v1 import Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus, ObjectMeta


def seen(wanted: int = 3, *, observed: int = 2, revision: str = "2", reason: str = "", **status: Any) -> Deployment:
    made = Deployment(
        metadata=ObjectMeta(name="web", generation=2, annotations={REVISION: revision} if revision else {}),
        spec=DeploymentSpec(replicas=wanted),
        status=DeploymentStatus(observed_generation=observed, **status),
    )
    if reason:
        made.status.conditions.append(DeploymentCondition(type="Progressing", reason=reason, status="False"))
    return made


WAITING = 'Waiting for deployment "web" rollout to finish: '


@pytest.mark.parametrize(
    ("deployment", "message", "done"),
    [
        (seen(observed=1), "Waiting for deployment spec update to be observed...", False),
        (seen(updated_replicas=1), WAITING + "1 out of 3 new replicas have been updated...", False),
        (seen(updated_replicas=3, replicas=5), WAITING + "2 old replicas are pending termination...", False),
        (
            seen(updated_replicas=3, replicas=3, available_replicas=1),
            WAITING + "1 of 3 updated replicas are available...", False,
        ),
        (seen(updated_replicas=3, replicas=3, available_replicas=3), 'deployment "web" successfully rolled out', True),
        (seen(0), 'deployment "web" successfully rolled out', True),
        (
            seen(observed=1, reason="ProgressDeadlineExceeded"),
            "Waiting for deployment spec update to be observed...", False,
        ),
        (seen(reason="ReplicaSetUpdated"), WAITING + "0 out of 3 new replicas have been updated...", False),
    ],
)  # fmt: skip
def test_progress(deployment: Deployment, message: str, done: bool) -> None:
    progress = progress_of(deployment)
    assert (progress.message, progress.done) == (message, done)


def test_past_the_deadline() -> None:
    with pytest.raises(RolloutFailed, match='deployment "web" exceeded its progress deadline'):
        progress_of(seen(reason="ProgressDeadlineExceeded"))


@pytest.mark.parametrize(("revision", "running"), [("3", "3"), ("", "none")])
def test_another_revision(revision: str, running: str) -> None:
    with pytest.raises(RolloutFailed) as caught:
        progress_of(seen(revision=revision), revision=2)
    assert str(caught.value) == f"desired revision (2) is different from the running revision ({running})"


COUNT = st.integers(0, 6)


@given(st.fixed_dictionaries({"updated_replicas": COUNT, "replicas": COUNT, "available_replicas": COUNT}), COUNT)
def test_done_means_all_of_the_new_and_none_of_the_old(status: dict[str, Any], wanted: int) -> None:
    if progress_of(seen(wanted, **status)).done:
        assert status["updated_replicas"] >= wanted
        assert status["replicas"] <= status["updated_replicas"] <= status["available_replicas"]
