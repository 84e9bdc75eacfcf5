"""Pods and pod templates as a whole, and what may change in a pod that exists."""

from __future__ import annotations

from orchestrator.api import names
from orchestrator.api.errors import forbidden, invalid, not_supported, required, too_many
from orchestrator.api.v1 import Pod, PodSpec, PodStatus, PodTemplateSpec
from orchestrator.api.validation.container import containers
from orchestrator.api.validation.meta import described
from orchestrator.api.validation.resources import amounts
from orchestrator.api.validation.rules import Faults, name_required, named, not_negative, one_of, within
from orchestrator.api.validation.scheduling import scheduling
from orchestrator.api.validation.security import pod_security
from orchestrator.api.validation.volume import volumes

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
NAMESERVERS_LIMIT = 3
SEARCHES_LIMIT = 32
_LONGEST_DEADLINE = 2**31 - 1
_LONGEST_GRACE = 2**31 - 1  # 68 years; the end of the calendar is not far beyond
_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod(obj: Pod) -> Faults:
    yield from pod_spec(obj.spec, "spec")


def template(obj: PodTemplateSpec, path: str) -> Faults:
    yield from described(obj.metadata, f"{path}.metadata")
    yield from pod_spec(obj.spec, f"{path}.spec")


def pod_status(status: PodStatus) -> Faults:
    """Addresses end up in the kernel's rules: nothing that only looks like one may get there."""
    yield from _address("status.podIP", status.pod_ip)
    yield from _address("status.hostIP", status.host_ip)
    for index, pod_address in enumerate(status.pod_ips):
        yield from _address(f"status.podIPs[{index}].ip", pod_address.ip)
    for index, host_address in enumerate(status.host_ips):
        yield from _address(f"status.hostIPs[{index}].ip", host_address.ip)


def _address(path: str, address: str) -> Faults:
    if address:
        yield from named(names.ip_address, path, address)


def pod_spec(spec: PodSpec, path: str) -> Faults:
    yield from volumes(spec.volumes, f"{path}.volumes")
    yield from containers(spec, path)
    yield from one_of(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    yield from one_of(f"{path}.dnsPolicy", spec.dns_policy, DNS_POLICIES)
    yield from _dns(spec, f"{path}.dnsConfig")
    yield from scheduling(spec, path)
    yield from pod_security(spec, path)
    yield from _names(spec, path)
    if spec.HasField("active_deadline_seconds"):
        yield from within(f"{path}.activeDeadlineSeconds", spec.active_deadline_seconds, 1, _LONGEST_DEADLINE)
    if spec.HasField("termination_grace_period_seconds"):
        here = f"{path}.terminationGracePeriodSeconds"
        yield from not_negative(here, spec.termination_grace_period_seconds)
        if spec.termination_grace_period_seconds > _LONGEST_GRACE:
            yield invalid(
                here, spec.termination_grace_period_seconds, f"must be less than or equal to {_LONGEST_GRACE}"
            )
    for index, alias in enumerate(spec.host_aliases):
        yield from named(names.ip_address, f"{path}.hostAliases[{index}].ip", alias.ip)
        for position, hostname in enumerate(alias.hostnames):
            yield from named(names.subdomain, f"{path}.hostAliases[{index}].hostnames[{position}]", hostname)
    for index, gate in enumerate(spec.readiness_gates):
        here = f"{path}.readinessGates[{index}].conditionType"
        yield from name_required(names.qualified_name, here, gate.condition_type)
    if spec.HasField("preemption_policy"):
        choices = ("Never", "PreemptLowerPriority")
        yield from one_of(f"{path}.preemptionPolicy", spec.preemption_policy, choices)
    if spec.HasField("os"):
        yield from one_of(f"{path}.os.name", spec.os.name, ["linux", "windows"])
    yield from amounts(spec.overhead, f"{path}.overhead")


def pod_update(new: Pod, old: Pod) -> Faults:
    """A pod is made once; a few fields may be changed while it runs, some of them in one direction only."""
    before, after = old.spec, new.spec
    if len(after.containers) != len(before.containers):
        yield forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    if len(after.init_containers) != len(before.init_containers):
        yield forbidden("spec.initContainers", "pod updates may not add or remove containers")
        return
    yield from _deadline_update(after, before)
    yield from _tolerations_update(after, before)
    gates = {gate.name for gate in before.scheduling_gates}
    for index, gate in enumerate(after.scheduling_gates):
        if gate.name not in gates:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            yield forbidden(f"spec.schedulingGates[{index}]", why)
    changed = _changed(after, before)
    if changed:
        yield forbidden("spec", f"{_MUTABLE}: changed {', '.join(changed)}")


def _changed(after: PodSpec, before: PodSpec) -> list[str]:
    """The fields, by their JSON names, that differ once what may differ is made equal."""
    allowed = PodSpec()
    allowed.CopyFrom(after)
    for mine, its in zip(allowed.containers, before.containers, strict=True):
        mine.image = its.image
    for mine, its in zip(allowed.init_containers, before.init_containers, strict=True):
        mine.image = its.image
    allowed.ClearField("active_deadline_seconds")
    if before.HasField("active_deadline_seconds"):
        allowed.active_deadline_seconds = before.active_deadline_seconds
    if before.termination_grace_period_seconds < 0 and after.termination_grace_period_seconds == 1:
        allowed.termination_grace_period_seconds = before.termination_grace_period_seconds
    del allowed.tolerations[:]
    allowed.tolerations.extend(before.tolerations)
    if before.scheduling_gates:
        del allowed.scheduling_gates[:]
        allowed.scheduling_gates.extend(before.scheduling_gates)
        # While a pod is held back, its choice of nodes may become narrower.
        if all(allowed.node_selector.get(key) == before.node_selector[key] for key in before.node_selector):
            allowed.ClearField("node_selector")
            allowed.node_selector.update(before.node_selector)
    kept = {field.json_name: value for field, value in before.ListFields()}
    given = {field.json_name: value for field, value in allowed.ListFields()}
    names_of_both = sorted(kept.keys() | given.keys())
    return [f"spec.{name}" for name in names_of_both if kept.get(name) != given.get(name)]


def _deadline_update(after: PodSpec, before: PodSpec) -> Faults:
    path = "spec.activeDeadlineSeconds"
    if not before.HasField("active_deadline_seconds"):
        return
    if not after.HasField("active_deadline_seconds"):
        yield invalid(path, None, "must not update from a positive integer to nil value")
    elif after.active_deadline_seconds > before.active_deadline_seconds:
        yield invalid(path, after.active_deadline_seconds, "must be less than or equal to previous value")


def _tolerations_update(after: PodSpec, before: PodSpec) -> Faults:
    """Existing ones stay, though their time may change; others may join."""
    kept = {(each.key, each.operator, each.value, each.effect) for each in after.tolerations}
    if any((each.key, each.operator, each.value, each.effect) not in kept for each in before.tolerations):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def restart_always(spec: PodSpec, path: str, owner: str) -> Faults:
    """What templates of things that keep pods running must have."""
    if spec.restart_policy and spec.restart_policy != "Always" and spec.restart_policy in RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", spec.restart_policy, ["Always"])
    if spec.HasField("active_deadline_seconds"):
        yield forbidden(f"{path}.activeDeadlineSeconds", f"activeDeadlineSeconds in {owner} is not Supported")


def _names(spec: PodSpec, path: str) -> Faults:
    for name, value, rule in (
        ("serviceAccountName", spec.service_account_name, names.subdomain),
        ("nodeName", spec.node_name, names.subdomain),
        ("hostname", spec.hostname, names.label),
        ("subdomain", spec.subdomain, names.label),
        ("priorityClassName", spec.priority_class_name, names.subdomain),
        ("runtimeClassName", spec.runtime_class_name, names.subdomain),
        ("hostnameOverride", spec.hostname_override, names.subdomain),
    ):
        if value:
            yield from named(rule, f"{path}.{name}", value)
    for index, reference in enumerate(spec.image_pull_secrets):
        if not reference.name:
            yield required(f"{path}.imagePullSecrets[{index}].name")


def _dns(spec: PodSpec, path: str) -> Faults:
    config = spec.dns_config
    if spec.dns_policy == "None":
        if not spec.HasField("dns_config"):
            yield required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not config.nameservers:
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.nameservers", why)
    if len(config.nameservers) > NAMESERVERS_LIMIT:
        yield too_many(f"{path}.nameservers", len(config.nameservers), NAMESERVERS_LIMIT)
    for index, address in enumerate(config.nameservers):
        yield from named(names.ip_address, f"{path}.nameservers[{index}]", address)
    if len(config.searches) > SEARCHES_LIMIT:
        yield too_many(f"{path}.searches", len(config.searches), SEARCHES_LIMIT)
    for index, search in enumerate(config.searches):
        if search != ".":
            yield from named(names.subdomain, f"{path}.searches[{index}]", search.removesuffix("."))
    for index, option in enumerate(config.options):
        if not option.name:
            yield required(f"{path}.options[{index}].name")
