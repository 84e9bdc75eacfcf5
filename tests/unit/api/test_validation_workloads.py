"""Validation of what keeps or runs pods: the smallest object, changed, and the faults."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.changed_objects import GONE, Json, faults

TEMPLATE = "spec/template"
INDEXED: Json = {"spec/completionMode": "Indexed", "spec/completions": 4}
RULE = "spec/podFailurePolicy"


def rule(**fields: Any) -> Json:
    return {RULE: {"rules": [fields]}}


ALWAYS_ONE = 'Required value: valid values: "OnFailure", "Never"'

CASES: dict[str, tuple[str, Json, list[str]]] = {
    "controller without pods": (
        "rc",
        {TEMPLATE: GONE},
        ["spec.selector: Required value", "spec.template: Required value"],
    ),
    "controller that would not find its pods": (
        "rc",
        {"spec/selector": {"a": "b"}, "spec/replicas": -1},
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ],
    ),
    "stateful set": (
        "sts",
        {
            "spec/podManagementPolicy": "Sometimes",
            "spec/updateStrategy": {"type": "Now"},
            "spec/persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"},
            "spec/serviceName": "1",
            "spec/selector": {},
        },
        [
            "spec.podManagementPolicy: Invalid value: \"Sometimes\": must be 'OrderedReady' or 'Parallel'",
            "spec.updateStrategy: Invalid value: \"Now\": must be 'RollingUpdate' or 'OnDelete'",
            'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: '
            '"Delete", '
            '"Retain"',
            'spec.serviceName: Invalid value: "1": a DNS-1035 label must consist of lower case alphanumeric '
            "characters or "
            "'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
        ],
    ),
    "stateful set's claims are volumes": (
        "sts",
        {
            "spec/volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            f"{TEMPLATE}/spec/containers/0/volumeMounts": [{"name": "data", "mountPath": "/data"}],
        },
        ["spec.volumeClaimTemplates[0].spec.resources[storage]: Required value"],
    ),
    "stateful set's pace": (
        "sts",
        {"spec/updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}},
        [
            "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
        ],
    ),
    "daemon set's pace": (
        "ds",
        {"spec/updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": "10%"}}},
        [
            'spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is '
            "non-zero"
        ],
    ),
    "daemon set that can't move": (
        "ds",
        {"spec/updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    ),
    "daemon set's strategy": (
        "ds",
        {"spec/updateStrategy": {"type": "Now"}},
        ['spec.updateStrategy: Unsupported value: "Now": supported values: "OnDelete", "RollingUpdate"'],
    ),
    "daemon set's pods go on": (
        "ds",
        {f"{TEMPLATE}/spec/restartPolicy": "Never"},
        ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ),
    "revision": (
        "controllerrevisions",
        {"data": GONE, "revision": -1},
        ["data: Required value: data is mandatory", "revision: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "job whose pods never end": (
        "job",
        {f"{TEMPLATE}/spec/restartPolicy": "Always"},
        [f"spec.template.spec.restartPolicy: {ALWAYS_ONE}"],
    ),
    "job of less than nothing": (
        "job",
        {"spec/parallelism": -1, "spec/backoffLimit": -2, "spec/completionMode": "Both", "spec/managedBy": "me"},
        [
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            "spec.backoffLimit: Invalid value: -2: must be greater than or equal to 0",
            'spec.completionMode: Unsupported value: "Both": supported values: "Indexed", "NonIndexed"',
            'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
        ],
    ),
    "job with a selector of its own": (
        "job",
        {"spec/selector": {"matchLabels": {"a": "b"}}},
        [
            'spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"u-1"}}: '
            "`selector` not auto-generated",
            'spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u-1",'
            '"batch.kubernetes.io/job-name":"web","controller-uid":"u-1","job-name":"web"}: `selector` does not match '
            "template `labels`",
        ],
    ),
    "job with a manual selector": (
        "job",
        {
            "spec/manualSelector": True,
            "spec/selector": {"matchLabels": {"a": "b"}},
            f"{TEMPLATE}/metadata": {"labels": {"a": "b"}},
        },
        [],
    ),
    "indexes without a number": (
        "job",
        {"spec/completionMode": "Indexed", "spec/parallelism": 200_000},
        [
            "spec.completions: Required value: when completion mode is Indexed",
            "spec.parallelism: Invalid value: 200000: must be less than or equal to 100000 when completion mode is "
            "Indexed",
        ],
    ),
    "limits of indexes without indexes": (
        "job",
        {"spec/maxFailedIndexes": 3},
        [
            "spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions",
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 3: requires indexed completion mode",
        ],
    ),
    "failure policy": (
        "job",
        {
            **rule(action="FailIndex", onExitCodes={"containerName": "x", "operator": "In", "values": [3, 0, 3]}),
            f"{TEMPLATE}/spec/restartPolicy": "OnFailure",
        },
        [
            'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the '
            "backoffLimitPerIndex to be "
            "set",
            'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "x": must be one of the '
            "container "
            "or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when '
            "podFailurePolicy is specified",
        ],
    ),
    "failure policy that says nothing": (
        "job",
        rule(action="Stop"),
        [
            'spec.podFailurePolicy.rules[0].action: Unsupported value: "Stop": supported values: "Count", "FailIndex", '
            '"FailJob", "Ignore"',
            "spec.podFailurePolicy.rules[0]: Invalid value: null: specifying one of OnExitCodes and OnPodConditions is "
            "required",
        ],
    ),
    "success policy without indexes": (
        "job",
        {"spec/successPolicy": {"rules": [{"succeededCount": 1}]}},
        [
            'spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode',
        ],
    ),
    "success policy": (
        "job",
        {
            **INDEXED,
            "spec/successPolicy": {
                "rules": [
                    {},
                    {"succeededIndexes": "1-2,2"},
                    {"succeededIndexes": "0-1", "succeededCount": 3},
                    {"succeededCount": 9},
                ]
            },
        },
        [
            "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be "
            "specified",
            'spec.successPolicy.rules[1].succeededIndexes: Invalid value: "1-2,2": error parsing succeededIndexes: '
            "non-increasing order, previous: 2, current: 2",
            "spec.successPolicy.rules[2].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number "
            "of indexes in the specified succeededIndexes field)",
            "spec.successPolicy.rules[3].succeededCount: Invalid value: 9: must be less than or equal to 4 (the number "
            "of specified completions)",
        ],
    ),
    "cron job": (
        "cj",
        {
            "metadata/name": "x" * 53,
            "spec/schedule": "61 * * * *",
            "spec/timeZone": "Moon/Base",
            "spec/concurrencyPolicy": "Maybe",
            "spec/startingDeadlineSeconds": -1,
            "spec/jobTemplate/spec/selector": {"matchLabels": {"a": "b"}},
            "spec/jobTemplate/spec/manualSelector": True,
        },
        [
            f'metadata.name: Invalid value: "{"x" * 53}": must be no more than 52 characters',
            'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61',
            'spec.timeZone: Invalid value: "Moon/Base": unknown time zone Moon/Base',
            "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            'spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"',
            'spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be '
            "auto-generated",
            'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "false", "nil"',
        ],
    ),
    "cron job elsewhere": ("cj", {"spec/timeZone": "Europe/Berlin", "spec/schedule": "@daily"}, []),
    "cron job with two time zones": (
        "cj",
        {"spec/schedule": "TZ=UTC * * * * *", "spec/timeZone": "local"},
        [
            'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use '
            "timeZone field "
            "instead",
            'spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in '
            "https://www.iana.org/time-zones",
        ],
    ),
}


@pytest.mark.parametrize(("resource", "changes", "expected"), CASES.values(), ids=CASES)
def test_workloads(resource: str, changes: Json, expected: list[str]) -> None:
    assert faults(resource, changes) == expected
