"""JSON to objects and back: what is shown, what is refused and how, and that nothing gets lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.api.codec import from_json, from_json_as, to_json
from orchestrator.api.errors import ApiError, BadRequest, UnknownKind
from orchestrator.api.kinds import all_kinds
from orchestrator.api.timestamps import format_timestamp, parse_timestamp, to_datetime, to_timestamp
from orchestrator.api.v1 import (
    ConfigMap,
    Container,
    ContainerStatus,
    Deployment,
    Lease,
    ObjectMeta,
    Pod,
    PodSpec,
    Secret,
    Service,
)
from tests.unit.api.schema_strategies import json_values, messages

KINDS = [kind.message for kind in all_kinds()]


def pod(**spec: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.sampled_from(KINDS).flatmap(lambda kind: messages(kind)))  # type: ignore[arg-type]
def test_what_is_shown_is_read_back(message: Message) -> None:
    data = to_json(message)  # type: ignore[arg-type]
    text = json.dumps(data, allow_nan=False)
    assert from_json(json.loads(text)).obj == message


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_anything_else_is_refused_by_name(value: object) -> None:
    for data in (value, {"apiVersion": "v1", "kind": "Pod", "metadata": value, "spec": value}, pod(containers=value)):
        try:
            from_json(data, unknown="ignore")
        except ApiError as error:
            assert error.message


def test_the_order_and_what_is_left_out() -> None:
    obj = Deployment(metadata=ObjectMeta(name="web", labels={"b": "2", "a": "1"}))
    obj.spec.replicas = 0
    data = to_json(obj)
    assert list(data) == ["apiVersion", "kind", "metadata", "spec"]
    assert data["metadata"] == {"name": "web", "labels": {"a": "1", "b": "2"}}
    assert list(data["metadata"]["labels"]) == ["a", "b"]
    assert data["spec"] == {"replicas": 0}  # it is optional, and set


def test_fields_that_are_always_shown() -> None:
    status = Pod()
    status.status.container_statuses.append(ContainerStatus(name="a"))
    shown = to_json(status)["status"]["containerStatuses"][0]
    assert shown == {
        "name": "a",
        "state": {},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": "",
        "imageID": "",
    }
    assert to_json(Pod(spec=PodSpec()))["spec"] == {"containers": []}
    assert from_json({"apiVersion": "v1", "kind": "Pod", **to_json(status)}).obj == status


def test_special_values() -> None:
    decoded = from_json(
        pod(
            containers=[
                {
                    "name": "a",
                    "livenessProbe": {"httpGet": {"port": 80}},
                    "readinessProbe": {"tcpSocket": {"port": "http"}},
                }
            ],
            volumes=[{"name": "v", "emptyDir": {}}],
        )
    ).obj
    assert isinstance(decoded, Pod)
    assert decoded.spec.volumes[0].HasField("empty_dir")
    shown = to_json(decoded)["spec"]
    assert shown["volumes"] == [{"name": "v", "emptyDir": {}}]
    port = shown["containers"][0]["livenessProbe"]["httpGet"]["port"]
    assert port == 80 and type(port) is int
    assert shown["containers"][0]["readinessProbe"]["tcpSocket"]["port"] == "http"


def test_bytes_are_base64() -> None:
    secret = from_json({"apiVersion": "v1", "kind": "Secret", "data": {"k": "aGVs\nbG8="}}).obj
    assert isinstance(secret, Secret)
    assert secret.data["k"] == b"hello"
    assert to_json(secret)["data"] == {"k": "aGVsbG8="}


def test_numbers_may_be_quantities_and_nothing_else() -> None:
    data = pod(containers=[{"name": "a", "resources": {"limits": {"cpu": 1, "memory": 0.5}}}])
    decoded = from_json(data).obj
    assert isinstance(decoded, Pod)
    assert dict(decoded.spec.containers[0].resources.limits) == {"cpu": "1", "memory": "0.5"}
    with pytest.raises(BadRequest, match=r"metadata.labels\[version\]: must be a string, not the number 1.0"):
        from_json({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"version": 1.0}}})


def test_null_is_absent() -> None:
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"creationTimestamp": None}, "data": {"k": None}}
    decoded = from_json(data).obj
    assert isinstance(decoded, ConfigMap)
    assert not decoded.metadata.HasField("creation_timestamp")
    assert dict(decoded.data) == {"k": ""}


def test_times() -> None:
    data = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"creationTimestamp": "2026-01-02T03:04:05.9+02:00"},
        "spec": {"renewTime": "2026-01-02T03:04:05.123456789Z"},
    }
    decoded = from_json(data).obj
    assert isinstance(decoded, Lease)
    shown = to_json(decoded)
    assert shown["metadata"]["creationTimestamp"] == "2026-01-02T01:04:05Z"
    assert shown["spec"]["renewTime"] == "2026-01-02T03:04:05.123456Z"


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-01-02T25:04:05Z", "2026-W01-1",
     "0001-01-01T00:00:00+10:00", "2026-01-02T03:04:05+25:00", "٢٠٢٦-01-02T03:04:05Z", "2026-01-02T03:04:05Z\n"],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    assert parse_timestamp(text) is None


def test_times_that_no_calendar_has_do_not_break_the_reader() -> None:
    assert format_timestamp(2**62, -5) == "9999-12-31T23:59:59Z"
    assert format_timestamp(-(2**62), 0, micro=True) == "0001-01-01T00:00:00.000000Z"
    assert to_timestamp(to_datetime(Timestamp(seconds=-1, nanos=5000))) == Timestamp(seconds=-1, nanos=5000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pod(contaners=[]), 'strict decoding error: unknown field "spec.contaners" (did you mean "containers"?)'),
        (
            pod(containers=[{"name": "a", "imagee": "x", "xyzzy": 1}]),
            'strict decoding error: unknown field "spec.containers[0].imagee" (did you mean "image"?), '
            'unknown field "spec.containers[0].xyzzy"',
        ),
        (pod(containers={}), "spec.containers: must be a list, not an object"),
        (pod(containers=[None]), "spec.containers[0]: must be an object, not null"),
        (pod(containers=[{"command": "ls"}]), 'spec.containers[0].command: must be a list, not the string "ls"'),
        (pod(containers=[{"command": [1]}]), "spec.containers[0].command[0]: must be a string, not the integer 1"),
        (pod(hostNetwork="yes"), 'spec.hostNetwork: must be true or false, not the string "yes"'),
        (pod(priority=True), "spec.priority: must be an integer, not true"),
        (pod(priority=1.0), "spec.priority: must be an integer, not the number 1.0"),
        (pod(priority=2**31), f"spec.priority: must be an integer between {-(2**31)} and {2**31 - 1}, not {2**31}"),
        (pod(nodeSelector=[]), "spec.nodeSelector: must be an object, not a list"),
        (pod(nodeName="\ud800"), "spec.nodeName: is not valid Unicode: surrogates not allowed"),
        (
            pod(containers=[{"livenessProbe": {"httpGet": {"port": 1.5}}}]),
            "spec.containers[0].livenessProbe.httpGet.port: must be an integer or a string, not the number 1.5",
        ),
        (
            {"apiVersion": "v1", "kind": "Secret", "data": {"k": "%"}},
            "data[k]: must be base64: illegal data in a value of 1 characters",
        ),
        ({"kind": "Pod"}, 'Object "apiVersion" is missing'),
        ({"apiVersion": "v1"}, 'Object "kind" is missing'),
        ({"apiVersion": 1, "kind": "Pod"}, "apiVersion: must be a string, not the integer 1"),
        ([], "an object must be a JSON object, not a list"),
    ],
)  # fmt: skip
def test_bad_input_says_what_and_where(data: Any, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        from_json(data)
    assert caught.value.message == message


def test_unknown_fields_as_the_caller_wishes() -> None:
    data = pod(containers=[{"name": "a"}], foo=1)
    assert from_json(data, unknown="warn").warnings == ('unknown field "spec.foo"',)
    assert from_json(data, unknown="ignore").warnings == ()
    with pytest.raises(UnknownKind):
        from_json({"apiVersion": "v1", "kind": "Pot"})


def test_a_flood_of_unknown_fields_is_cut_short() -> None:
    names = {f"field{number}": 1 for number in range(100_000)}
    warnings = from_json(pod(**names), unknown="warn").warnings
    assert len(warnings) == 51 and warnings[-1] == "99950 more unknown fields"
    with pytest.raises(BadRequest) as caught:
        from_json(pod(**{"x" * 1_000_000: 1}))
    assert len(caught.value.message) < 500


def test_parts_know_where_they_belong() -> None:
    assert from_json_as(Container, {"name": "a"}).name == "a"
    with pytest.raises(BadRequest, match=r"^spec.containers\[0\].name: must be"):
        from_json_as(Container, {"name": 1}, "spec.containers[0]")
    with pytest.raises(BadRequest, match=r"^the document: must be an object"):
        from_json_as(Container, [])


def test_free_form_json_is_bounded() -> None:
    deep: object = 1
    for _ in range(60):
        deep = {"f:x": deep}
    data = {"apiVersion": "v1", "kind": "Service", "metadata": {"managedFields": [{"fieldsV1": deep}]}}
    with pytest.raises(BadRequest, match="nested more than 24 levels"):
        from_json(data)
    fields: dict[str, object] = {
        "f:spec": {"f:ports": {'k:{"port":80}': {".": {}, "f:port": {}}, "n": None, "l": [1, "a", True]}}
    }
    data["metadata"]["managedFields"][0]["fieldsV1"] = fields  # type: ignore[index]
    decoded = from_json(data).obj
    assert isinstance(decoded, Service)
    assert to_json(decoded)["metadata"]["managedFields"] == [{"fieldsV1": fields}]
