"""What keeps a number of pods: strategies with their parameters, and selectors that are taken from the template."""

from __future__ import annotations

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import (
    DaemonSetUpdateStrategy,
    DeploymentStrategy,
    ReplicationController,
    StatefulSetUpdateStrategy,
)


@rule(DeploymentStrategy)
def _deployment_strategy(strategy: DeploymentStrategy) -> None:
    if strategy.type == "RollingUpdate":
        strategy.rolling_update.SetInParent()


@rule(StatefulSetUpdateStrategy)
def _stateful_set_strategy(strategy: StatefulSetUpdateStrategy) -> None:
    if strategy.type == "RollingUpdate":
        strategy.rolling_update.SetInParent()


@rule(DaemonSetUpdateStrategy)
def _daemon_set_strategy(strategy: DaemonSetUpdateStrategy) -> None:
    if strategy.type == "RollingUpdate":
        strategy.rolling_update.SetInParent()


@rule(ReplicationController)
def _replication_controller(controller: ReplicationController) -> None:
    """What is left out is what the template's labels say."""
    labels = controller.spec.template.metadata.labels
    if not labels:
        return
    if not controller.spec.selector:
        controller.spec.selector.update(labels)
    if not controller.metadata.labels:
        controller.metadata.labels.update(labels)
