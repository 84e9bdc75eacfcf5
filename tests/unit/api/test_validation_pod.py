"""Pods as a whole: every rule as one change to a good pod and the fault it must draw."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict, ParseError
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.defaults import set_defaults
from orchestrator.api.v1 import Pod
from orchestrator.api.validation import validate, validate_update
from tests.unit.api.validation_pods import GOOD, changed, faults, pod


def test_a_good_pod_has_no_faults() -> None:
    assert faults(GOOD) == []


CASES: dict[str, tuple[str, object, str]] = {
    # volumes
    "volume name": ("volumes.0.name", "A_b", 'spec.volumes[0].name: Invalid value: "A_b": a lowercase RFC 1123 label'),
    "volume name twice": ("volumes.1.name", "data", 'spec.volumes[1].name: Duplicate value: "data"'),
    "two sources of a volume": (
        "volumes.1.emptyDir",
        {},
        "spec.volumes[1].emptyDir: Forbidden: may not specify more than 1 volume type",
    ),
    "host path type": (
        "volumes.1.hostPath.type",
        "Folder",
        'spec.volumes[1].hostPath.type: Unsupported value: "Folder": supported values: ',
    ),
    "host path upwards": (
        "volumes.1.hostPath.path",
        "/a/../b",
        "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
    ),
    "config map of a volume": ("volumes.2.configMap.name", "", "spec.volumes[2].configMap.name: Required value"),
    "file mode": (
        "volumes.2.configMap.defaultMode",
        512,
        "spec.volumes[2].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal)",
    ),
    "file path": (
        "volumes.2.configMap.items.0.path",
        "../a",
        "spec.volumes[2].configMap.items[0].path: Invalid value: \"../a\": must not contain '..'",
    ),
    "secret of a volume": ("volumes.0.secret", {}, "spec.volumes[0].secret.secretName: Required value"),
    "size": (
        "volumes.0.emptyDir",
        {"sizeLimit": "big"},
        'spec.volumes[0].emptyDir.sizeLimit: Invalid value: "big": quantities must match',
    ),
    "medium": (
        "volumes.0.emptyDir",
        {"medium": "Disk"},
        'spec.volumes[0].emptyDir.medium: Unsupported value: "Disk": supported values: "", "HugePages", "Memory"',
    ),
    "same file from two sources": (
        "volumes.3.projected.sources.0.secret.items.0.path",
        "y",
        'spec.volumes[3].projected: Invalid value: "y": conflicting duplicate paths',
    ),
    "file of nothing": (
        "volumes.3.projected.sources.1.downwardAPI.items.0",
        {"path": "a"},
        "spec.volumes[3].projected.sources[1].downwardAPI.items[0]: Required value: one of fieldRef and",
    ),
    # the pod
    "restart policy": (
        "restartPolicy",
        "X",
        'spec.restartPolicy: Unsupported value: "X": supported values: "Always", "Never", "OnFailure"',
    ),
    "DNS policy": ("dnsPolicy", "X", 'spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirst"'),
    "DNS of its own": (
        "dnsPolicy",
        "None",
        "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    ),
    "name server": (
        "dnsConfig",
        {"nameservers": ["dns.test"]},
        'spec.dnsConfig.nameservers[0]: Invalid value: "dns.test": must be a valid IP address',
    ),
    "name servers": (
        "dnsConfig",
        {"nameservers": [f"10.0.0.{number}" for number in range(4)]},
        "spec.dnsConfig.nameservers: Too many: 4: must have at most 3 items",
    ),
    "grace period": (
        "terminationGracePeriodSeconds",
        "-1",
        "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ),
    "deadline": (
        "activeDeadlineSeconds",
        "0",
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    "host alias": (
        "hostAliases.0.ip",
        "x",
        'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address',
    ),
    "host alias name": ("hostAliases.0.hostnames.0", "A", 'spec.hostAliases[0].hostnames[0]: Invalid value: "A"'),
    "node name": ("nodeName", "N1", 'spec.nodeName: Invalid value: "N1": a lowercase RFC 1123 subdomain must'),
    "hostname": ("hostname", "a.b", 'spec.hostname: Invalid value: "a.b": a lowercase RFC 1123 label must'),
    "node selector": ("nodeSelector.disk", "a b", 'spec.nodeSelector: Invalid value: "a b": a valid label must be'),
    "toleration operator": (
        "tolerations.0.operator",
        "Near",
        'spec.tolerations[0].operator: Unsupported value: "Near": supported values: "Equal", "Exists"',
    ),
    "toleration of everything": (
        "tolerations.0",
        {"operator": "Equal"},
        'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which '
        'means "match all values and all keys"',
    ),
    "toleration with a useless value": (
        "tolerations.0.operator",
        "Exists",
        "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
    ),
    "toleration for a while": (
        "tolerations.0.tolerationSeconds",
        "5",
        "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when",
    ),
    "toleration effect": (
        "tolerations.0.effect",
        "X",
        'spec.tolerations[0].effect: Unsupported value: "X": supported values: "NoExecute", "NoSchedule"',
    ),
    "node affinity without terms": (
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
        [],
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
        "must have at least one node selector term",
    ),
    "affinity weight": (
        "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.0.weight",
        101,
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: "
        "must be in the range 1-100",
    ),
    "topology key": (
        "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution.0.podAffinityTerm.topologyKey",
        "",
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "
        "Required value: can not be empty",
    ),
    "spreading": (
        "topologySpreadConstraints",
        [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    ),
}


@pytest.mark.parametrize(("path", "value", "expected"), CASES.values(), ids=CASES)
def test_one_fault(path: str, value: object, expected: str) -> None:
    found = faults(changed(path, value))
    assert any(fault.startswith(expected) for fault in found), found


def test_all_faults_at_once() -> None:
    data = changed("restartPolicy", "X")
    data["spec"]["containers"] = [{"name": "A"}, {"image": "x"}]  # type: ignore[index]
    data["metadata"] = {"name": "Web"}
    paths = [fault.split(":")[0] for fault in faults(data)]
    assert paths == [
        "metadata.name",
        "metadata.namespace",
        "spec.containers[0].name",
        "spec.containers[0].image",
        "spec.containers[1].name",
        "spec.restartPolicy",
    ]


def test_processes_shared_with_the_node_and_among_themselves() -> None:
    data = changed("hostPID", True)
    assert faults(data) == []
    data["spec"]["shareProcessNamespace"] = True  # type: ignore[index]
    assert faults(data) == [
        "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"
    ]


def test_on_the_nodes_network_ports_must_be_the_nodes() -> None:
    data = changed("hostNetwork", True)
    assert faults(data) == []
    data["spec"]["containers"][0]["ports"][0]["hostPort"] = 81  # type: ignore[index]
    assert faults(data) == [
        "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"
    ]


def test_a_gated_pod_has_no_node() -> None:
    data = changed("schedulingGates", [{"name": "example.com/wait"}])
    assert faults(data) == []
    data["spec"]["nodeName"] = "n1"  # type: ignore[index]
    assert faults(data) == ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]


JSON = st.sampled_from(["", "a", "A b", "/x", "..", "-1", "9" * 30])


@given(st.sampled_from(sorted(path for path, value, _ in CASES.values() if isinstance(value, str))), JSON)
def test_any_text_in_any_field_is_judged(path: str, text: str) -> None:
    try:
        obj = ParseDict(changed(path, text), Pod())
    except ParseError:  # of numbers; the decoder's business
        return
    set_defaults(obj)
    validate(obj)
    validate_update(obj, pod(GOOD))
