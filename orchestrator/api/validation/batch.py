"""Jobs and cron jobs: how much work, how many failures, and whose pods. Rules about failures are in `job_policies`."""

from __future__ import annotations

import zoneinfo

from orchestrator.api.cron import ScheduleError, parse
from orchestrator.api.errors import invalid, not_supported, required, too_long
from orchestrator.api.selectors import from_label_selector
from orchestrator.api.v1 import CronJob, Job, JobSpec, JobStatus, PodTemplateSpec
from orchestrator.api.validation.job_policies import failure_policy, success_policy
from orchestrator.api.validation.meta import label_selector
from orchestrator.api.validation.pod import template
from orchestrator.api.validation.replicas import counts
from orchestrator.api.validation.rules import (
    Faults,
    domain_prefixed,
    given,
    immutable,
    not_negative,
    one_of,
    shown,
    without,
)

MOST_INDEXED_PARALLELISM = 100_000
MOST_PARALLELISM_WITH_INDEX_LIMITS = 10_000
_CRON_JOB_NAME_LENGTH = 52  # of its jobs' names eleven characters are the time
_MANAGER_LENGTH = 63
_COMPLETION_MODES = ("Indexed", "NonIndexed")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")
_CONCURRENCY = ("Allow", "Forbid", "Replace")
_RESTARTS = ("Never", "OnFailure")
_MOVABLE = ("node_selector", "affinity", "tolerations", "scheduling_gates")


def job(obj: Job) -> Faults:
    yield from _generated_selector(obj)
    yield from _spec(obj.spec, "spec")
    spec = obj.spec
    if not spec.HasField("selector"):
        yield required("spec.selector")
        return
    faults = list(label_selector(spec.selector, "spec.selector"))
    yield from faults
    if not faults and not from_label_selector(spec.selector).matches(spec.template.metadata.labels):
        labels = {key: spec.template.metadata.labels[key] for key in sorted(spec.template.metadata.labels)}
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def job_update(new: Job, old: Job) -> Faults:
    before, after = old.spec, new.spec
    yield from _completions_update(after, before)
    yield from immutable("spec.selector", after.selector, before.selector)
    yield from immutable("spec.template", _fixed(new, old), before.template)
    yield from immutable("spec.completionMode", after.completion_mode, before.completion_mode)
    yield from immutable("spec.podFailurePolicy", after.pod_failure_policy, before.pod_failure_policy)
    for name, field in (("backoffLimitPerIndex", "backoff_limit_per_index"), ("managedBy", "managed_by")):
        yield from immutable(f"spec.{name}", given(after, field), given(before, field))
    yield from immutable("spec.successPolicy", after.success_policy, before.success_policy)


def job_status(status: JobStatus) -> Faults:
    yield from counts(status, "active", "succeeded", "failed", "terminating", "ready")


def cron_job(obj: CronJob) -> Faults:
    name = obj.metadata.name
    if len(name) > _CRON_JOB_NAME_LENGTH:
        yield invalid("metadata.name", name, f"must be no more than {_CRON_JOB_NAME_LENGTH} characters")
    spec = obj.spec
    yield from _schedule(spec.schedule)
    if spec.HasField("time_zone"):
        yield from _time_zone(spec.time_zone)
    for field, path in (
        ("starting_deadline_seconds", "spec.startingDeadlineSeconds"),
        ("successful_jobs_history_limit", "spec.successfulJobsHistoryLimit"),
        ("failed_jobs_history_limit", "spec.failedJobsHistoryLimit"),
    ):
        yield from not_negative(path, getattr(spec, field))
    yield from one_of("spec.concurrencyPolicy", spec.concurrency_policy, _CONCURRENCY)
    made = spec.job_template.spec
    path = "spec.jobTemplate.spec"
    yield from _spec(made, path)
    if made.HasField("selector"):
        yield invalid(f"{path}.selector", shown(made.selector), "`selector` will be auto-generated")
    if made.manual_selector:
        yield not_supported(f"{path}.manualSelector", True, ["nil", "false"])


def _schedule(schedule: str) -> Faults:
    path = "spec.schedule"
    if not schedule:
        yield required(path)
    elif "TZ" in schedule:
        yield invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    else:
        try:
            parse(schedule)
        except ScheduleError as error:
            yield invalid(path, schedule, str(error))


def _time_zone(zone: str) -> Faults:
    path = "spec.timeZone"
    if not zone:
        yield invalid(path, zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield invalid(path, zone, why)
    else:
        try:
            zoneinfo.ZoneInfo(zone)
        except (KeyError, ValueError, OSError):  # unknown; a path that leads elsewhere; a directory
            yield invalid(path, zone, f"unknown time zone {zone}")


def _spec(spec: JobSpec, path: str) -> Faults:
    for name, field in (
        ("parallelism", "parallelism"),
        ("completions", "completions"),
        ("activeDeadlineSeconds", "active_deadline_seconds"),
        ("backoffLimit", "backoff_limit"),
        ("ttlSecondsAfterFinished", "ttl_seconds_after_finished"),
        ("backoffLimitPerIndex", "backoff_limit_per_index"),
        ("maxFailedIndexes", "max_failed_indexes"),
    ):
        yield from not_negative(f"{path}.{name}", getattr(spec, field))
    if spec.HasField("completion_mode") and spec.completion_mode not in _COMPLETION_MODES:
        yield not_supported(f"{path}.completionMode", spec.completion_mode, _COMPLETION_MODES)
    yield from _indexes(spec, path)
    if spec.HasField("pod_failure_policy"):
        yield from failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.HasField("success_policy"):
        yield from success_policy(spec, f"{path}.successPolicy")
    yield from _replacement(spec, path)
    if spec.HasField("managed_by"):
        yield from _manager(f"{path}.managedBy", spec.managed_by)
    yield from template(spec.template, f"{path}.template")
    yield from _restart(spec, f"{path}.template.spec.restartPolicy")


def _indexes(spec: JobSpec, path: str) -> Faults:
    """What an indexed job must say, and others may not."""
    per_index = spec.HasField("backoff_limit_per_index")
    if spec.HasField("max_failed_indexes"):
        here = f"{path}.maxFailedIndexes"
        if spec.HasField("completions") and spec.max_failed_indexes > spec.completions:
            yield invalid(here, spec.max_failed_indexes, "must be less than or equal to completions")
        if not per_index:
            yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.completion_mode != "Indexed":
        for name, field in (
            ("backoffLimitPerIndex", "backoff_limit_per_index"),
            ("maxFailedIndexes", "max_failed_indexes"),
        ):
            amount = given(spec, field)
            if amount is not None:
                yield invalid(f"{path}.{name}", amount, "requires indexed completion mode")
        return
    if not spec.HasField("completions"):
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if spec.parallelism > MOST_INDEXED_PARALLELISM:
        why = f"must be less than or equal to {MOST_INDEXED_PARALLELISM} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", spec.parallelism, why)
    if per_index and spec.completions > MOST_INDEXED_PARALLELISM:
        yield from _many_indexes(spec, path)


def _many_indexes(spec: JobSpec, path: str) -> Faults:
    most = MOST_PARALLELISM_WITH_INDEX_LIMITS
    above = f"completions are above {MOST_INDEXED_PARALLELISM}"
    if not spec.HasField("max_failed_indexes"):
        yield required(f"{path}.maxFailedIndexes", f"must be specified when {above}")
    elif spec.max_failed_indexes > most:
        why = f"must be less than or equal to {most} when {above} and used with backoff limit per index"
        yield invalid(f"{path}.maxFailedIndexes", spec.max_failed_indexes, why)
    if spec.parallelism > most:
        why = f"must be less than or equal to {most} when {above} and used with backoff limit per index"
        yield invalid(f"{path}.parallelism", spec.parallelism, why)


def _replacement(spec: JobSpec, path: str) -> Faults:
    if not spec.HasField("pod_replacement_policy"):
        return
    # A failure can only be judged once the pod has ended.
    choices = ("Failed",) if spec.HasField("pod_failure_policy") else _REPLACEMENTS
    if spec.pod_replacement_policy not in choices:
        yield not_supported(f"{path}.podReplacementPolicy", spec.pod_replacement_policy, choices)


def _manager(path: str, manager: str) -> Faults:
    yield from domain_prefixed(path, manager)
    if len(manager.encode()) > _MANAGER_LENGTH:
        yield too_long(path, _MANAGER_LENGTH)


def _restart(spec: JobSpec, path: str) -> Faults:
    policy = spec.template.spec.restart_policy
    if policy == "Always":
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in _RESTARTS:
        yield not_supported(path, policy, _RESTARTS)
    elif spec.HasField("pod_failure_policy") and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _generated_selector(obj: Job) -> Faults:
    """A selector that the server made is the job's own, and so are its pods' labels."""
    spec = obj.spec
    if spec.manual_selector or not spec.HasField("selector"):
        return
    uid, name = obj.metadata.uid, obj.metadata.name
    if not uid:
        yield required("metadata.uid")
    labels = spec.template.metadata.labels
    wanted = {
        "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/job-name": name,
    }
    for key, value in wanted.items():
        path = f"spec.template.metadata.labels[{key}]"
        if key not in labels:
            yield required(path, f"must be '{value}'")
        elif labels[key] != value:
            yield invalid(path, labels[key], f"must be '{value}'")
    if not list(label_selector(spec.selector, "")) and not from_label_selector(spec.selector).matches(wanted):
        yield invalid("spec.selector", shown(spec.selector), "`selector` not auto-generated")


def _completions_update(after: JobSpec, before: JobSpec) -> Faults:
    """An indexed job may grow and shrink, if everything that remains runs at once."""
    mine = after.completions if after.HasField("completions") else None
    its = before.completions if before.HasField("completions") else None
    if mine == its:
        return
    path = "spec.completions"
    if after.completion_mode != "Indexed" or mine is None or its is None:
        yield from immutable(path, mine, its)
    elif mine != after.parallelism:
        yield invalid(path, mine, "can only be modified in tandem with spec.parallelism")


def _fixed(new: Job, old: Job) -> PodTemplateSpec:
    """The new template, without what may be changed as long as no pod was made of it: where its pods may run."""
    started = old.status.HasField("start_time") or not old.spec.suspend
    if started:
        return new.spec.template
    before = old.spec.template
    pods = without(new.spec.template, ("metadata", "spec"))
    if before.HasField("metadata"):
        pods.metadata.CopyFrom(before.metadata)
    if new.spec.template.HasField("spec"):
        pods.spec.CopyFrom(without(new.spec.template.spec, _MOVABLE))
        fixed = {field.name for field in before.spec.DESCRIPTOR.fields} - set(_MOVABLE)
        pods.spec.MergeFrom(without(before.spec, fixed))
    return pods
