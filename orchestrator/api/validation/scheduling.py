"""Where a pod may run: node selectors, tolerations, affinity, spreading, gates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.api import names
from orchestrator.api.errors import duplicate, forbidden, invalid, not_supported, required
from orchestrator.api.selectors import Operator, check_requirement
from orchestrator.api.v1 import (
    Affinity,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.rules import Faults, labels, name_required, named, one_of, repeats

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_FIELDS = ("metadata.name",)
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")


def scheduling(spec: PodSpec, path: str) -> Faults:
    yield from labels(f"{path}.nodeSelector", spec.node_selector)
    yield from tolerations(spec.tolerations, f"{path}.tolerations")
    if spec.HasField("affinity"):
        yield from _affinity(spec.affinity, f"{path}.affinity")
    yield from _spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints")
    for index, gate in enumerate(spec.scheduling_gates):
        yield from name_required(names.qualified_name, f"{path}.schedulingGates[{index}].name", gate.name)
    for index in repeats(gate.name for gate in spec.scheduling_gates):
        yield duplicate(f"{path}.schedulingGates[{index}].name", spec.scheduling_gates[index].name)
    if spec.scheduling_gates and spec.node_name:
        yield forbidden(f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared")


def tolerations(entries: Iterable[Toleration], path: str) -> Faults:
    for index, toleration in enumerate(entries):
        yield from _toleration(toleration, f"{path}[{index}]")


def node_selector_terms(terms: Sequence[NodeSelectorTerm], path: str) -> Faults:
    if not terms:
        yield required(path, "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from _term(term, f"{path}[{index}]")


def _toleration(toleration: Toleration, path: str) -> Faults:
    if toleration.key:
        yield from named(names.qualified_name, f"{path}.key", toleration.key)
    elif toleration.operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid(f"{path}.operator", toleration.operator, why)
    if toleration.HasField("toleration_seconds") and toleration.effect != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield invalid(f"{path}.effect", toleration.effect, why)
    match toleration.operator:
        case "" | "Equal":
            yield from named(names.label_value, f"{path}.value", toleration.value)
        case "Exists":
            if toleration.value:
                yield invalid(f"{path}.operator", toleration.value, "value must be empty when `operator` is 'Exists'")
        case _:
            yield not_supported(f"{path}.operator", toleration.operator, ["Equal", "Exists"])
    if toleration.effect:
        yield from one_of(f"{path}.effect", toleration.effect, EFFECTS)


def _affinity(affinity: Affinity, path: str) -> Faults:
    if affinity.HasField("node_affinity"):
        yield from _node_affinity(affinity.node_affinity, f"{path}.nodeAffinity")
    if affinity.HasField("pod_affinity"):
        yield from _pod_affinity(affinity.pod_affinity, f"{path}.podAffinity")
    if affinity.HasField("pod_anti_affinity"):
        yield from _pod_affinity(affinity.pod_anti_affinity, f"{path}.podAntiAffinity")


def _node_affinity(affinity: NodeAffinity, path: str) -> Faults:
    if affinity.HasField("required_during_scheduling_ignored_during_execution"):
        terms = affinity.required_during_scheduling_ignored_during_execution.node_selector_terms
        here = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        yield from node_selector_terms(terms, here)
    for index, preferred in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(f"{here}.weight", preferred.weight)
        yield from _term(preferred.preference, f"{here}.preference")


def _term(term: NodeSelectorTerm, path: str) -> Faults:
    operators = tuple(Operator)
    for index, expression in enumerate(term.match_expressions):
        here = f"{path}.matchExpressions[{index}]"
        yield from check_requirement(here, expression.key, expression.operator, expression.values, operators)
    for index, expression in enumerate(term.match_fields):
        yield from _node_field(expression, f"{path}.matchFields[{index}]")


def _node_field(expression: NodeSelectorRequirement, path: str) -> Faults:
    if expression.key not in _NODE_FIELDS:
        yield not_supported(f"{path}.key", expression.key, _NODE_FIELDS)
    if expression.operator not in {"In", "NotIn"}:
        yield invalid(f"{path}.operator", expression.operator, "not a valid selector operator")
    elif len(expression.values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{path}.values", why)


def _pod_affinity(affinity: PodAffinity | PodAntiAffinity, path: str) -> Faults:
    for index, term in enumerate(affinity.required_during_scheduling_ignored_during_execution):
        yield from _pod_term(term, f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
    for index, preferred in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(f"{here}.weight", preferred.weight)
        yield from _pod_term(preferred.pod_affinity_term, f"{here}.podAffinityTerm")


def _pod_term(term: PodAffinityTerm, path: str) -> Faults:
    if term.HasField("label_selector"):
        yield from label_selector(term.label_selector, f"{path}.labelSelector")
    if term.HasField("namespace_selector"):
        yield from label_selector(term.namespace_selector, f"{path}.namespaceSelector")
    for index, namespace in enumerate(term.namespaces):
        yield from named(names.label, f"{path}.namespaces[{index}]", namespace)
    yield from _topology_key(f"{path}.topologyKey", term.topology_key)


def _spread(constraints: Sequence[TopologySpreadConstraint], path: str) -> Faults:
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        if constraint.max_skew <= 0:
            yield invalid(f"{here}.maxSkew", constraint.max_skew, "must be greater than zero")
        yield from _topology_key(f"{here}.topologyKey", constraint.topology_key)
        if constraint.when_unsatisfiable not in _UNSATISFIABLE:
            yield not_supported(f"{here}.whenUnsatisfiable", constraint.when_unsatisfiable, _UNSATISFIABLE)
        if constraint.HasField("label_selector"):
            yield from label_selector(constraint.label_selector, f"{here}.labelSelector")
        if constraint.HasField("min_domains"):
            if constraint.min_domains <= 0:
                yield invalid(f"{here}.minDomains", constraint.min_domains, "must be greater than zero")
            if constraint.when_unsatisfiable != "DoNotSchedule":
                why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {constraint.when_unsatisfiable}"
                yield invalid(f"{here}.minDomains", constraint.min_domains, why)
        if constraint.HasField("node_affinity_policy"):
            yield from one_of(f"{here}.nodeAffinityPolicy", constraint.node_affinity_policy, ["Honor", "Ignore"])
        if constraint.HasField("node_taints_policy"):
            yield from one_of(f"{here}.nodeTaintsPolicy", constraint.node_taints_policy, ["Honor", "Ignore"])
    pairs = [f"{{{constraint.topology_key}, {constraint.when_unsatisfiable}}}" for constraint in constraints]
    for index in repeats(pairs):
        yield duplicate(f"{path}[{index}].{{topologyKey, whenUnsatisfiable}}", pairs[index])


def _topology_key(path: str, key: str) -> Faults:
    if not key:
        yield required(path, "can not be empty")
    else:
        yield from named(names.qualified_name, path, key)


def _weight(path: str, weight: int) -> Faults:
    if not 1 <= weight <= 100:
        yield invalid(path, weight, "must be in the range 1-100")
