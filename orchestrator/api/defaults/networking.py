"""Network policies: what they restrict follows from the rules they have."""

from __future__ import annotations

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import NetworkPolicySpec


@rule(NetworkPolicySpec)
def _policy(spec: NetworkPolicySpec) -> None:
    if not spec.policy_types:
        spec.policy_types.append("Ingress")
        if spec.egress:
            spec.policy_types.append("Egress")
