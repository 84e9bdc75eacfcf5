"""What the rest of the system takes for granted about every message of the schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from orchestrator.api.codec import from_json_as
from orchestrator.api.kinds import all_kinds
from orchestrator.api.schema import map_value, option
from orchestrator.api.v1 import Object, ObjectMeta, Pod, options_pb2


def _all_messages(root: Descriptor, seen: dict[str, Descriptor]) -> dict[str, Descriptor]:
    if root.full_name not in seen and root.full_name.startswith("navarch."):
        seen[root.full_name] = root
        for each in root.fields:
            if each.message_type is not None and map_value(each) is None:
                _all_messages(each.message_type, seen)
    return seen


MESSAGES = _all_messages(Object.DESCRIPTOR, {})


def _fields() -> Iterator[FieldDescriptor]:
    for message in MESSAGES.values():
        yield from message.fields


def test_resource_versions_can_be_appended_to_stored_bytes() -> None:
    assert ObjectMeta.DESCRIPTOR.fields_by_name["resource_version"].number == 6
    for kind in all_kinds():
        assert kind.descriptor.fields_by_name["metadata"].number == 1, kind
    stored = Object(pod=Pod(metadata=ObjectMeta(name="web", labels={"a": "b"}))).SerializeToString()
    stored += Object(pod=Pod(metadata=ObjectMeta(resource_version="7"))).SerializeToString()
    metadata = Object.FromString(stored).pod.metadata
    assert (metadata.name, metadata.labels["a"], metadata.resource_version) == ("web", "b", "7")


def test_merge_keys_name_a_field_of_the_items() -> None:
    for each in _fields():
        key = option(each, options_pb2.merge_key)
        if not key:
            continue
        assert each.is_repeated, each.full_name
        if each.message_type is None:
            assert key == "-", each.full_name
        else:
            assert key in {item.json_name for item in each.message_type.fields}, each.full_name


def test_defaults_are_values_of_their_fields() -> None:
    checked = 0
    for each in _fields():
        if not each.GetOptions().HasExtension(options_pb2.default_value):
            continue
        text = option(each, options_pb2.default_value)
        value: object = text
        if each.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
            value = int(text)
        elif each.type == FieldDescriptor.TYPE_BOOL:
            value = {"true": True, "false": False}[text]
        elif each.message_type is not None and each.message_type.full_name.startswith("navarch."):
            assert text == "{}", each.full_name
            value = {}
        assert each.containing_type is not None
        from_json_as(GetMessageClass(each.containing_type), {each.json_name: value})
        checked += 1
    assert checked > 50


def test_options_are_used_where_they_mean_something() -> None:
    for each in _fields():
        kind = each.message_type.full_name if each.message_type is not None else ""
        if option(each, options_pb2.micro_time):
            assert kind == "google.protobuf.Timestamp", each.full_name
        if option(each, options_pb2.quantity):
            entry = map_value(each)
            assert (entry or each).type == FieldDescriptor.TYPE_STRING, each.full_name
        if option(each, options_pb2.retain_keys):
            assert kind.startswith("navarch."), each.full_name


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_json_names_are_unique_and_have_no_underscore(name: str) -> None:
    names = [each.json_name for each in MESSAGES[name].fields]
    assert len(set(names)) == len(names)
    assert not [each for each in names if "_" in each]


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (
            "PodSpec",
            {"hostPID", "hostIPC", "setHostnameAsFQDN", "hostUsers", "hostnameOverride", "ephemeralContainers"},
        ),
        ("PodStatus", {"hostIP", "hostIPs", "podIP", "podIPs", "qosClass", "resize", "extendedResourceClaimStatus"}),
        ("ContainerStatus", {"containerID", "imageID", "allocatedResourcesStatus", "stopSignal", "user"}),
        ("Container", {"restartPolicyRules", "resizePolicy", "terminationMessagePath", "stdinOnce", "envFrom"}),
        ("ServiceSpec", {"clusterIP", "clusterIPs", "externalIPs", "loadBalancerIP", "trafficDistribution"}),
        ("NodeSpec", {"podCIDR", "podCIDRs", "providerID", "externalID"}),
        ("NodeSystemInfo", {"machineID", "systemUUID", "bootID", "osImage", "kubeProxyVersion", "swap"}),
        ("DaemonEndpoint", {"Port"}),
        ("Volume", {"downwardAPI", "scaleIO", "storageos", "cephfs", "azureFile", "image", "ephemeral", "csi"}),
        ("FCVolumeSource", {"targetWWNs"}),
        ("SessionAffinityConfig", {"clientIP"}),
    ],
)
def test_names_are_those_of_kubernetes(message: str, names: set[str]) -> None:
    assert names <= {each.json_name for each in MESSAGES[f"navarch.v1.{message}"].fields}
