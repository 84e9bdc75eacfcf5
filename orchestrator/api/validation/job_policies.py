"""A job's rules about pods that failed, and about when enough of them have succeeded."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.api import names
from orchestrator.api.errors import duplicate, invalid, not_supported, required, too_long, too_many
from orchestrator.api.v1 import (
    JobSpec,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicyRule,
)
from orchestrator.api.validation.rules import Faults, named, not_negative, repeats, shown

RULES_LIMIT = 20
EXIT_CODES_LIMIT = 255
PATTERNS_LIMIT = 20
INDEXES_LENGTH = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")


def failure_policy(spec: JobSpec, path: str) -> Faults:
    rules = spec.pod_failure_policy.rules
    if len(rules) > RULES_LIMIT:
        yield too_many(f"{path}.rules", len(rules), RULES_LIMIT)
    pods = spec.template.spec
    containers = {each.name for each in (*pods.containers, *pods.init_containers)}
    for index, rule in enumerate(rules):
        yield from _failure_rule(rule, f"{path}.rules[{index}]", containers, spec)


def success_policy(spec: JobSpec, path: str) -> Faults:
    rules = spec.success_policy.rules
    if spec.completion_mode != "Indexed":
        yield invalid(path, shown(spec.success_policy), "requires indexed completion mode")
        return
    if not rules:
        yield required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > RULES_LIMIT:
        yield too_many(f"{path}.rules", len(rules), RULES_LIMIT)
    for index, rule in enumerate(rules):
        yield from _success_rule(rule, f"{path}.rules[{index}]", spec.completions)


def _failure_rule(rule: PodFailurePolicyRule, path: str, containers: set[str], spec: JobSpec) -> Faults:
    if not rule.action:
        yield required(f"{path}.action", f"valid values: {_quoted(_ACTIONS)}")
    elif rule.action not in _ACTIONS:
        yield not_supported(f"{path}.action", rule.action, _ACTIONS)
    elif rule.action == "FailIndex" and not spec.HasField("backoff_limit_per_index"):
        yield invalid(f"{path}.action", rule.action, "requires the backoffLimitPerIndex to be set")
    if rule.HasField("on_exit_codes"):
        yield from _exit_codes(rule.on_exit_codes, f"{path}.onExitCodes", containers)
    if len(rule.on_pod_conditions) > PATTERNS_LIMIT:
        yield too_many(f"{path}.onPodConditions", len(rule.on_pod_conditions), PATTERNS_LIMIT)
    for index, pattern in enumerate(rule.on_pod_conditions):
        yield from _condition(pattern, f"{path}.onPodConditions[{index}]")
    if rule.HasField("on_exit_codes") and rule.on_pod_conditions:
        yield invalid(path, None, "specifying both OnExitCodes and OnPodConditions is not supported")
    elif not rule.HasField("on_exit_codes") and not rule.on_pod_conditions:
        yield invalid(path, None, "specifying one of OnExitCodes and OnPodConditions is required")


def _exit_codes(codes: PodFailurePolicyOnExitCodesRequirement, path: str, containers: set[str]) -> Faults:
    if not codes.operator:
        yield required(f"{path}.operator", f"valid values: {_quoted(_OPERATORS)}")
    elif codes.operator not in _OPERATORS:
        yield not_supported(f"{path}.operator", codes.operator, _OPERATORS)
    if codes.HasField("container_name") and codes.container_name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", codes.container_name, why)
    values = list(codes.values)
    here = f"{path}.values"
    if not values:
        yield invalid(here, values, "at least one value is required")
    elif len(values) > EXIT_CODES_LIMIT:
        yield too_many(here, len(values), EXIT_CODES_LIMIT)
    if values != sorted(values):
        yield invalid(here, values, "must be ordered")
    for index in repeats(values):
        yield duplicate(f"{here}[{index}]", values[index])
    if codes.operator == "In" and 0 in values:
        yield invalid(f"{here}[{values.index(0)}]", 0, "must not be 0 for the In operator")


def _condition(pattern: PodFailurePolicyOnPodConditionsPattern, path: str) -> Faults:
    yield from named(names.qualified_name, f"{path}.type", pattern.type)
    if not pattern.status:
        yield required(f"{path}.status", f"valid values: {_quoted(_STATUSES)}")
    elif pattern.status not in _STATUSES:
        yield not_supported(f"{path}.status", pattern.status, _STATUSES)


def _success_rule(rule: SuccessPolicyRule, path: str, completions: int) -> Faults:
    total: int | None = None
    if rule.HasField("succeeded_indexes"):
        here = f"{path}.succeededIndexes"
        text = rule.succeeded_indexes
        if len(text) > INDEXES_LENGTH:
            yield too_long(here, INDEXES_LENGTH)
        else:
            try:
                total = count_indexes(text, completions)
            except ValueError as error:
                yield invalid(here, text, f"error parsing succeededIndexes: {error}")
    if rule.HasField("succeeded_count"):
        here = f"{path}.succeededCount"
        amount = rule.succeeded_count
        yield from not_negative(here, amount)
        if amount > completions:
            why = f"must be less than or equal to {completions} (the number of specified completions)"
            yield invalid(here, amount, why)
        if total is not None and amount > total:
            why = (
                f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )
            yield invalid(here, amount, why)
    if not rule.HasField("succeeded_indexes") and not rule.HasField("succeeded_count"):
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")


def count_indexes(text: str, completions: int) -> int:
    """How many indexes "1,3-5,7" are: ascending, without repeats, below `completions`. Raises ValueError."""
    total, last = 0, -1
    for part in text.split(","):
        first, dash, second = part.partition("-")
        start, end = _index(first), _index(second) if dash else _index(first)
        if dash and end <= start:
            raise ValueError(f"non-increasing order, previous: {start}, current: {end}")
        if start <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {start}")
        if end >= completions:
            raise ValueError(f'too large index: "{end}"')
        total += end - start + 1
        last = end
    return total


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    return int(text)


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)
