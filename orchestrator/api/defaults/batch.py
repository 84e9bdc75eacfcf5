"""Jobs: how much work there is when nobody says, and whose pods are whose.

The rules are those of a Job, not of its spec: in a CronJob's template nothing is filled in before a job is made of it.
"""

from __future__ import annotations

from orchestrator.api.defaults.rules import rule
from orchestrator.api.v1 import Job

_BACKOFF_LIMIT = 6
_NO_LIMIT = 2**31 - 1


@rule(Job)
def _job(job: Job) -> None:
    spec = job.spec
    if not spec.HasField("parallelism"):
        if not spec.HasField("completions"):
            spec.completions = 1
        spec.parallelism = 1
    if not spec.HasField("backoff_limit"):
        # With a limit for each index there is none for all of them.
        spec.backoff_limit = _NO_LIMIT if spec.HasField("backoff_limit_per_index") else _BACKOFF_LIMIT
    if not spec.HasField("completion_mode"):
        spec.completion_mode = "NonIndexed"
    if not spec.HasField("suspend"):
        spec.suspend = False
    if not spec.HasField("manual_selector"):
        spec.manual_selector = False
    if not spec.HasField("pod_replacement_policy"):
        # A policy on failures can only judge pods that have ended.
        spec.pod_replacement_policy = "Failed" if spec.HasField("pod_failure_policy") else "TerminatingOrFailed"
    if not job.metadata.labels:
        job.metadata.labels.update(spec.template.metadata.labels)
