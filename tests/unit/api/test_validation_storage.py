"""Validation of volumes, claims and drivers: the smallest object, changed, and the faults."""

from __future__ import annotations

import pytest

from tests.unit.api.changed_objects import GONE, Json, faults

STORAGE: dict[str, tuple[str, Json, list[str]]] = {
    "volume without anything": (
        "pv",
        {"spec": {}},
        [
            "spec.accessModes: Required value",
            "spec.capacity: Required value",
            "spec: Required value: must specify a volume type",
        ],
    ),
    "volume of two kinds": (
        "pv",
        {"spec/nfs": {"server": "s", "path": "/"}, "spec/accessModes": ["Sometimes", "ReadWriteOncePod"]},
        [
            'spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", '
            '"ReadWriteOnce", "ReadWriteOncePod"',
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ],
    ),
    "volume of a driver": (
        "pv",
        {
            "spec/hostPath": GONE,
            "spec/csi": {"nodeStageSecretRef": {"name": "s"}},
            "spec/capacity": {"storage": "0"},
            "spec/volumeMode": "Tape",
        },
        [
            'spec.capacity[storage]: Invalid value: "0": must be greater than zero',
            "spec.csi.driver: Required value",
            "spec.csi.volumeHandle: Required value",
            "spec.csi.nodeStageSecretRef.namespace: Required value",
            'spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"',
        ],
    ),
    "local volume": (
        "pv",
        {"spec/hostPath": GONE, "spec/local": {"path": "/a/../b"}},
        [
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
            "spec.local.path: Invalid value: \"/a/../b\": must not contain '..'",
        ],
    ),
    "volume of a storage system": (
        "pv",
        {"spec/hostPath": GONE, "spec/rbd": {"image": "i"}},
        ["spec.rbd.monitors: Required value"],
    ),
    "claim": (
        "pvc",
        {
            "spec/accessModes": GONE,
            "spec/resources": {"requests": {"storage": "-1"}},
            "spec/dataSource": {"kind": "Snapshot"},
        },
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            'spec.resources[storage]: Invalid value: "-1": must be greater than zero',
            "spec.dataSource.name: Required value",
            "spec.dataSource: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the "
            "default "
            "apiGroup",
            "spec.dataSourceRef.name: Required value",
            "spec.dataSourceRef: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the "
            "default apiGroup",
        ],
    ),
    "storage class": (
        "sc",
        {
            "provisioner": "",
            "reclaimPolicy": "Recycle",
            "volumeBindingMode": "Later",
            "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone"}]}],
        },
        [
            "provisioner: Required value",
            'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
            'volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"',
            'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
            "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
            'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"',
        ],
    ),
    "attachment of nothing": (
        "volumeattachments",
        {"spec/source": {}, "spec/nodeName": ""},
        [
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            "spec.nodeName: Required value",
        ],
    ),
    "attachment of an inline volume": (
        "volumeattachments",
        {"spec/source": {"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"}}}},
        ["spec.source.inlineVolumeSpec.hostPath: Forbidden: may only specify csi for an inline volume"],
    ),
    "driver": (
        "csidrivers",
        {
            "spec": {
                "fsGroupPolicy": "All",
                "volumeLifecycleModes": ["Long"],
                "tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}],
                "nodeAllocatableUpdatePeriodSeconds": 1,
            }
        },
        [
            'spec.fsGroupPolicy: Unsupported value: "All": supported values: "File", "None", "ReadWriteOnceWithFSType"',
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 "
            "minutes",
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
            'spec.volumeLifecycleModes: Unsupported value: "Long": supported values: "Ephemeral", "Persistent"',
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 1: must be greater than or equal to 10 seconds",
        ],
    ),
    "drivers of a node": (
        "csinodes",
        {"spec/drivers": [{"name": "a", "nodeID": "n"}, {"name": "a", "topologyKeys": ["k", "k"]}]},
        [
            "spec.drivers[1].nodeID: Required value",
            'spec.drivers[1].topologyKeys[1]: Duplicate value: "k"',
            'spec.drivers[1].name: Duplicate value: "a"',
        ],
    ),
    "capacity": (
        "csistoragecapacities",
        {"storageClassName": "", "capacity": "-1"},
        [
            "storageClassName: Required value",
            'capacity: Invalid value: "-1": must be greater than or equal to 0',
        ],
    ),
}


@pytest.mark.parametrize(("resource", "changes", "expected"), STORAGE.values(), ids=STORAGE)
def test_storage(resource: str, changes: Json, expected: list[str]) -> None:
    assert faults(resource, changes) == expected
