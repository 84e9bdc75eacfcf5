"""Tables of jobs and cron jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.api.ages import age, human_duration
from orchestrator.api.printing import NONE, TEMPLATE_COLUMNS, UNSET, Printers, add, age_of, selector, template
from orchestrator.api.timestamps import to_datetime
from orchestrator.api.v1 import CronJob, Job

PRINTERS: Printers = {}
# The state is the first of these conditions that holds.
_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _job(obj: Job, now: datetime, wide: bool) -> Sequence[str]:
    return (
        obj.metadata.name,
        _state(obj),
        _completions(obj),
        _duration(obj, now),
        age_of(obj, now),
        *template(obj.spec.template.spec.containers),
        selector(obj.spec.selector),
    )


def _state(obj: Job) -> str:
    holding = {condition.type for condition in obj.status.conditions if condition.status == "True"}
    if obj.metadata.HasField("deletion_timestamp"):
        holding.add("")
    return next((shown for condition, shown in _STATES if condition in holding), "Running")


def _completions(obj: Job) -> str:
    spec, done = obj.spec, obj.status.succeeded
    if spec.HasField("completions"):
        return f"{done}/{spec.completions}"
    return f"{done}/1 of {spec.parallelism}" if spec.parallelism > 1 else f"{done}/1"


def _duration(obj: Job, now: datetime) -> str:
    if not obj.status.HasField("start_time"):
        return ""
    end = to_datetime(obj.status.completion_time) if obj.status.HasField("completion_time") else now
    return human_duration(end - to_datetime(obj.status.start_time))


def _cron_job(obj: CronJob, now: datetime, wide: bool) -> Sequence[str]:
    spec, status = obj.spec, obj.status
    job = spec.job_template.spec
    return (
        obj.metadata.name,
        spec.schedule,
        spec.time_zone if spec.HasField("time_zone") else NONE,
        str(spec.suspend) if spec.HasField("suspend") else UNSET,
        str(len(status.active)),
        age(now, status.last_schedule_time) if status.HasField("last_schedule_time") else NONE,
        age_of(obj, now),
        *template(job.template.spec.containers),
        selector(job.selector),
    )


add(
    PRINTERS,
    "jobs.batch",
    ("NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE", *TEMPLATE_COLUMNS),
    _job,
    TEMPLATE_COLUMNS,
)
add(
    PRINTERS,
    "cronjobs.batch",
    ("NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST SCHEDULE", "AGE", *TEMPLATE_COLUMNS),
    _cron_job,
    TEMPLATE_COLUMNS,
)
