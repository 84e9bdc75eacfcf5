"""The REST door, request by request, as Kubernetes' clients make them."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from typing import Any

import aiohttp
import pytest

from orchestrator.paths import Paths
from orchestrator.pki import ensure_pki
from orchestrator.server.rest import listener
from tests.integration.rest.conftest import Rest

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "registry.test/web:v1"}]},
            },
        },
    }


async def test_an_object_from_its_creation_to_its_deletion(rest: Rest) -> None:
    made = await rest.ask("POST", MAPS, config_map("a", x="1"))
    assert made.status == 201
    assert made.json["metadata"]["namespace"] == "default"
    assert list(made.json)[:2] == ["apiVersion", "kind"]
    read = await rest.get(f"{MAPS}/a")
    assert (read.status, read.json) == (200, made.json)
    changed = await rest.ask("PUT", f"{MAPS}/a", {**made.json, "data": {"x": "2"}})
    assert (changed.status, changed.json["data"]) == (200, {"x": "2"})
    stale = await rest.ask("PUT", f"{MAPS}/a", {**made.json, "data": {"x": "3"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    gone = await rest.ask("DELETE", f"{MAPS}/a")
    assert (gone.status, gone.json["kind"], gone.json["status"]) == (200, "Status", "Success")
    assert gone.json["details"] == {"name": "a", "kind": "configmaps", "uid": made.json["metadata"]["uid"]}
    missing = await rest.get(f"{MAPS}/a")
    assert missing.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" not found',
        "reason": "NotFound",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 404,
    }


async def test_patches_of_three_types_and_an_apply(rest: Rest) -> None:
    await rest.ask("POST", MAPS, config_map("a", x="1"))
    patch = {"data": {"y": "2"}}
    merged = await rest.ask("PATCH", f"{MAPS}/a", patch, Content_Type="application/merge-patch+json")
    assert merged.json["data"] == {"x": "1", "y": "2"}
    strategic = await rest.ask(
        "PATCH", f"{MAPS}/a", {"data": {"x": None}}, Content_Type="application/strategic-merge-patch+json"
    )
    assert strategic.json["data"] == {"y": "2"}
    operations = [{"op": "add", "path": "/data/z", "value": "3"}]
    listed = await rest.ask("PATCH", f"{MAPS}/a", operations, Content_Type="application/json-patch+json")
    assert listed.json["data"] == {"y": "2", "z": "3"}
    applied = await rest.ask(
        "PATCH",
        f"{MAPS}/b?fieldManager=me",
        b"apiVersion: v1\nkind: ConfigMap\ndata: {k: v}\n",
        Content_Type="application/apply-patch+yaml",
    )
    assert (applied.status, applied.json["data"]) == (201, {"k": "v"})
    assert applied.json["metadata"]["managedFields"][0]["manager"] == "me"
    conflict = await rest.ask(
        "PATCH",
        f"{MAPS}/b?fieldManager=you",
        b"apiVersion: v1\nkind: ConfigMap\ndata: {k: w}\n",
        Content_Type="application/apply-patch+yaml",
    )
    assert conflict.status == 409
    assert conflict.json["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "me"', "field": ".data.k"}
    ]
    unknown = await rest.ask("PATCH", f"{MAPS}/a", patch, Content_Type="application/json")
    assert unknown.status == 415


async def test_field_validation_warns_refuses_or_is_silent(rest: Rest) -> None:
    odd = {**config_map("a"), "dta": {}}
    warned = await rest.ask("POST", MAPS, odd)
    assert (warned.status, warned.headers["Warning"]) == (
        201,
        '299 - "unknown field \\"dta\\" (did you mean \\"data\\"?)"',
    )
    silent = await rest.ask("PUT", f"{MAPS}/a?fieldValidation=Ignore", odd)
    assert (silent.status, "Warning" in silent.headers) == (200, False)
    strict = await rest.ask("PUT", f"{MAPS}/a?fieldValidation=Strict", odd)
    assert strict.status == 400
    assert 'strict decoding error: unknown field "dta"' in strict.json["message"]
    patched = await rest.ask(
        "PATCH", f"{MAPS}/a?fieldValidation=Strict", {"dta": {}}, Content_Type="application/merge-patch+json"
    )
    assert patched.status == 400


async def test_dry_run_changes_nothing(rest: Rest) -> None:
    assert (await rest.ask("POST", f"{MAPS}?dryRun=All", config_map("a"))).status == 201
    assert (await rest.get(f"{MAPS}/a")).status == 404
    assert (await rest.ask("POST", f"{MAPS}?dryRun=Some", config_map("a"))).status == 400


async def test_lists_in_pages_and_by_selector(rest: Rest) -> None:
    for number in range(5):
        body = config_map(f"m{number}")
        body["metadata"]["labels"] = {"even": str(number % 2 == 0)}
        await rest.ask("POST", MAPS, body)
    everything = (await rest.get(MAPS)).json
    assert (everything["kind"], everything["apiVersion"]) == ("ConfigMapList", "v1")
    assert [each["metadata"]["name"] for each in everything["items"]] == [f"m{number}" for number in range(5)]
    assert "kind" not in everything["items"][0]
    page = (await rest.get(f"{MAPS}?limit=2")).json
    assert page["metadata"]["remainingItemCount"] == 3
    rest_of_it = (await rest.get(f"{MAPS}?limit=9&continue={page['metadata']['continue']}")).json
    assert [each["metadata"]["name"] for each in rest_of_it["items"]] == ["m2", "m3", "m4"]
    assert "continue" not in rest_of_it["metadata"]
    even = (await rest.get(f"{MAPS}?labelSelector=even%3DTrue")).json
    assert [each["metadata"]["name"] for each in even["items"]] == ["m0", "m2", "m4"]
    one = (await rest.get(f"{MAPS}?fieldSelector=metadata.name%3Dm3")).json
    assert [each["metadata"]["name"] for each in one["items"]] == ["m3"]


async def test_a_list_of_many_comes_whole_and_compressed(rest: Rest) -> None:
    big = "x" * 300_000
    for number in range(9):
        await rest.ask("POST", MAPS, config_map(f"m{number}", big=big))
    plain = await rest.get(MAPS, Accept_Encoding="identity")
    assert len(plain.json["items"]) == 9
    assert len(plain.body) > 9 * len(big)
    async with rest.session.get(
        rest.url + MAPS, headers={"Accept-Encoding": "gzip"}, auto_decompress=False
    ) as squeezed:
        body = await squeezed.read()
    assert len(body) < len(plain.body) / 10
    assert gzip.decompress(body) == plain.body


async def test_tables_and_metadata_alone(rest: Rest) -> None:
    await rest.ask("POST", DEPLOYMENTS, deployment("web"))
    table = (await rest.get(DEPLOYMENTS, Accept=TABLE)).json
    assert table["kind"] == "Table"
    names = [each["name"] for each in table["columnDefinitions"]]
    assert names == ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    assert [each["priority"] for each in table["columnDefinitions"]] == [0, 0, 0, 0, 0, 1, 1, 1]
    (row,) = table["rows"]
    assert row["cells"][:4] == ["web", "0/1", "0", "0"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    whole = (await rest.get(f"{DEPLOYMENTS}?includeObject=Object", Accept=TABLE)).json
    assert whole["rows"][0]["object"]["spec"]["replicas"] == 1
    partial = (
        await rest.get(DEPLOYMENTS, Accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    ).json
    assert partial["kind"] == "PartialObjectMetadataList"
    assert "spec" not in partial["items"][0]
    assert (await rest.get(DEPLOYMENTS, Accept="application/vnd.kubernetes.protobuf")).status == 406
    either = await rest.get(DEPLOYMENTS, Accept="application/vnd.kubernetes.protobuf,application/json")
    assert either.json["kind"] == "DeploymentList"
    as_yaml = await rest.get(f"{DEPLOYMENTS}/web", Accept="application/yaml")
    assert as_yaml.body.startswith(b"apiVersion: apps/v1\nkind: Deployment\n")


async def test_a_watch_tells_what_was_and_what_happens(rest: Rest) -> None:
    await rest.ask("POST", MAPS, config_map("a"))
    async with rest.session.get(f"{rest.url}{MAPS}?watch=true&allowWatchBookmarks=true") as watch:
        seen = [json.loads(await watch.content.readline())]
        await rest.ask("POST", MAPS, config_map("b"))
        await rest.ask("DELETE", f"{MAPS}/a")
        while len(seen) < 3 or seen[-1]["type"] != "DELETED":
            seen.append(json.loads(await watch.content.readline()))
    changes = [(each["type"], each["object"]["metadata"].get("name")) for each in seen if each["type"] != "BOOKMARK"]
    assert changes == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_a_watch_ends_when_its_time_is_up(rest: Rest) -> None:
    async with rest.session.get(f"{rest.url}{MAPS}?watch=true&timeoutSeconds=1") as watch:
        assert await watch.content.read() == b""


async def test_a_watch_from_a_revision_that_was_never_is_told_so(rest: Rest) -> None:
    async with rest.session.get(f"{rest.url}{MAPS}?watch=true&resourceVersion=999999") as watch:
        event = json.loads(await watch.content.readline())
    assert (event["type"], event["object"]["kind"]) == ("ERROR", "Status")
    assert event["object"]["code"] in {410, 504}


async def test_scale_and_status_are_apart(rest: Rest) -> None:
    await rest.ask("POST", DEPLOYMENTS, deployment("web"))
    scale = (await rest.get(f"{DEPLOYMENTS}/web/scale")).json
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    scaled = await rest.ask("PUT", f"{DEPLOYMENTS}/web/scale", {**scale, "spec": {"replicas": 3}})
    assert scaled.json["spec"]["replicas"] == 3
    patched = await rest.ask(
        "PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 2}}, Content_Type="application/merge-patch+json"
    )
    assert patched.json["spec"]["replicas"] == 2
    assert (await rest.get(f"{DEPLOYMENTS}/web")).json["spec"]["replicas"] == 2


async def test_a_collection_is_deleted_by_selector(rest: Rest) -> None:
    for name in ("a", "b", "c"):
        body = config_map(name)
        body["metadata"]["labels"] = {"keep": str(name == "b")}
        await rest.ask("POST", MAPS, body)
    gone = await rest.ask("DELETE", f"{MAPS}?labelSelector=keep%21%3DTrue")
    assert [each["metadata"]["name"] for each in gone.json["items"]] == ["a", "c"]
    assert [each["metadata"]["name"] for each in (await rest.get(MAPS)).json["items"]] == ["b"]


async def test_eviction_asks_the_disruption_budget(rest: Rest) -> None:
    pod = {
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "r.test/x"}]},
    }
    await rest.ask("POST", PODS, pod)
    await rest.ask(
        "PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, Content_Type="application/merge-patch+json"
    )
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    assert (await rest.ask("POST", budgets, budget)).status == 201
    refused = await rest.ask("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert (refused.status, refused.json["reason"]) == (429, "TooManyRequests")
    assert refused.json["details"]["causes"][0]["reason"] == "DisruptionBudget"
    allowed = {"status": {"disruptionsAllowed": 1, "observedGeneration": 1}}
    await rest.ask("PATCH", f"{budgets}/b/status", allowed, Content_Type="application/merge-patch+json")
    granted = await rest.ask("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})
    assert (granted.status, granted.json["status"]) == (201, "Success")
    assert (await rest.get(f"{PODS}/p")).status == 404
    spent = (await rest.get(f"{budgets}/b")).json["status"]
    assert (spent["disruptionsAllowed"], list(spent["disruptedPods"])) == (0, ["p"])


async def test_discovery_in_both_forms(rest: Rest) -> None:
    assert (await rest.get("/api")).json["versions"] == ["v1"]
    groups = [each["name"] for each in (await rest.get("/apis")).json["groups"]]
    assert {"apps", "batch", "networking.k8s.io"} <= set(groups)
    assert (await rest.get("/apis/apps")).json["preferredVersion"]["groupVersion"] == "apps/v1"
    core = {each["name"]: each for each in (await rest.get("/api/v1")).json["resources"]}
    assert core["pods"]["shortNames"] == ["po"]
    assert core["pods/eviction"]["kind"] == "Eviction"
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    told = await rest.get("/apis", Accept=aggregated)
    assert told.headers["Content-Type"] == "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2"
    apps = next(each for each in told.json["items"] if each["metadata"]["name"] == "apps")
    kinds = {each["resource"]: each for each in apps["versions"][0]["resources"]}
    assert {each["subresource"] for each in kinds["deployments"]["subresources"]} == {"scale", "status"}


async def test_openapi_names_what_kubectl_looks_for(rest: Rest) -> None:
    index = (await rest.get("/openapi/v3")).json["paths"]
    document = (await rest.get(index["apis/apps/v1"]["serverRelativeURL"])).json
    path = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert "fieldValidation" in {each["name"] for each in path["patch"]["parameters"]}
    assert path["patch"]["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    spec = document["components"]["schemas"]["navarch.v1.PodSpec"]
    assert spec["properties"]["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert spec["description"]
    references = _references(document)
    assert {each.removeprefix("#/components/schemas/") for each in references} <= document["components"][
        "schemas"
    ].keys()
    assert (await rest.get("/openapi/v2")).json["definitions"]


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(_references(each) for each in value.values()))
    return set().union(*(_references(each) for each in value)) if isinstance(value, list) else set()


async def test_reviews_are_answered_and_not_stored(rest: Rest) -> None:
    me = await rest.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert me.status == 201
    assert me.json["status"]["userInfo"]["username"] == "kubernetes-admin"
    question = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}}
    may = await rest.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", question)
    assert may.json["status"]["allowed"] is True
    assert (await rest.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")).status == 405


async def test_events_are_seen_in_both_groups(rest: Rest) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Testing",
        "message": "a note",
        "type": "Normal",
    }
    assert (await rest.ask("POST", "/api/v1/namespaces/default/events", event)).status == 201
    seen = (await rest.get("/apis/events.k8s.io/v1/namespaces/default/events/e")).json
    assert (seen["apiVersion"], seen["note"], seen["regarding"]["name"]) == ("events.k8s.io/v1", "a note", "p")
    listed = (await rest.get("/apis/events.k8s.io/v1/events")).json
    assert listed["items"][0]["note"] == "a note"


async def test_what_needs_no_identity(rest: Rest) -> None:
    connector = aiohttp.TCPConnector(ssl=rest.tls())
    async with aiohttp.ClientSession(connector=connector) as anybody:
        for path in ("/livez", "/readyz", "/healthz"):
            async with anybody.get(rest.url + path) as told:
                assert (told.status, await told.text()) == (200, "ok")
        async with anybody.get(f"{rest.url}/readyz?verbose") as told:
            assert "[+]store ok" in await told.text()
        async with anybody.get(f"{rest.url}/version") as told:
            assert (await told.json())["major"] == "1"
        async with anybody.get(f"{rest.url}{MAPS}") as told:
            assert (told.status, (await told.json())["reason"]) == (401, "Unauthorized")


BAD: list[tuple[str, str, bytes | None, str, int]] = [
    ("GET", "/api/v1/nonsense", None, "", 404),
    ("GET", "/apis/apps/v1/namespaces/default/pods", None, "", 404),
    ("GET", "/nothing", None, "", 404),
    ("GET", "/api/v1/namespaces/default/configmaps/a/b/c", None, "", 404),
    ("GET", "/api/v1/namespaces/..%2fx/configmaps", None, "", 400),
    ("GET", "/api/v1/namespaces/%ff/configmaps", None, "", 400),
    ("GET", f"{MAPS}?limit=-1", None, "", 400),
    ("GET", f"{MAPS}?limit=x", None, "", 400),
    ("GET", f"{MAPS}?continue=x", None, "", 400),
    ("GET", f"{MAPS}?labelSelector=a%3D%3D%3Db", None, "", 400),
    ("GET", f"{MAPS}?fieldSelector=spec.nothing%3Da", None, "", 400),
    ("GET", f"{MAPS}?resourceVersion=abc", None, "", 400),
    ("GET", f"{MAPS}?resourceVersionMatch=Exact", None, "", 400),
    ("GET", f"{MAPS}?watch=perhaps", None, "", 400),
    ("POST", MAPS, b"{", "application/json", 400),
    ("POST", MAPS, b"[]", "application/json", 400),
    ("POST", MAPS, b"\xff\xfe", "application/json", 400),
    ("POST", MAPS, b'{"a":' * 10_000, "application/json", 400),
    ("POST", MAPS, b"a: &a [*a, *a]", "application/yaml", 400),
    ("POST", MAPS, b'{"kind":"Pod","apiVersion":"v1"}', "application/json", 400),
    ("POST", MAPS, b'{"metadata":{"name":"a","namespace":"other"}}', "application/json", 400),
    ("POST", MAPS, b'{"metadata":{"name":"A_"}}', "application/json", 422),
    ("POST", MAPS, b"k8s\x00garbage", "application/vnd.kubernetes.protobuf", 400),
    ("POST", MAPS, b"<xml/>", "application/xml", 415),
    ("POST", f"{MAPS}/a", b"{}", "application/json", 405),
    ("PUT", MAPS, b"{}", "application/json", 405),
    ("DELETE", f"{MAPS}/a", b'{"gracePeriodSeconds":"soon"}', "application/json", 400),
    ("DELETE", f"{MAPS}/a", b'{"propagationPolicy":"Sideways"}', "application/json", 400),
    ("POST", MAPS, b'{"metadata":{"name":"a"},"data":{"x":"' + b"y" * (4 << 20) + b'"}}', "application/json", 413),
]


@pytest.mark.parametrize(("method", "path", "body", "content_type", "status"), BAD)
async def test_bad_requests_are_refused_with_a_status(
    rest: Rest, method: str, path: str, body: bytes | None, content_type: str, status: int
) -> None:
    headers = {"Content_Type": content_type} if content_type else {}
    reply = await rest.ask(method, path, body, **headers)
    assert reply.status == status, reply.body
    assert (reply.json["kind"], reply.json["status"], reply.json["code"]) == ("Status", "Failure", status)
    assert (await rest.get(MAPS)).json["items"] == []


async def test_who_shows_another_authoritys_certificate_is_refused(
    rest: Rest, tmp_path_factory: pytest.TempPathFactory
) -> None:

    foreign = Paths(tmp_path_factory.mktemp("foreign"))
    ensure_pki(foreign, node_name="n1", addresses=[])
    context = ssl.create_default_context(cafile=rest.paths.pki / "ca.crt")
    context.load_cert_chain(foreign.pki / "admin.crt", foreign.pki / "admin.key")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as stranger:
        with pytest.raises(aiohttp.ClientError):
            async with stranger.get(f"{rest.url}{MAPS}") as told:
                await told.read()


async def test_a_connection_that_says_nothing_is_closed(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, ssl=rest.tls("admin"))
    writer.write(b"GET /api HT")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_two_requests_in_one_are_not_smuggled(rest: Rest) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rest.port, ssl=rest.tls("admin"))
    smuggled = b"0\r\n\r\nDELETE /api/v1/namespaces/default/configmaps/a HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head % (MAPS.encode(), len(smuggled)) + smuggled)
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400") or answer.startswith(b"HTTP/1.0 400")
    assert answer.count(b"HTTP/1.") == 1
    writer.close()


async def test_a_strict_refusal_says_so_once(rest: Rest) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "dta": {}}
    reply = await rest.ask("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Strict", body)
    assert reply.json["message"].startswith(
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta"'
    )


async def test_openapi_in_the_protobuf_that_kubectl_reads_for_lists(rest: Rest) -> None:
    asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    reply = await rest.get("/openapi/v2", Accept=asked)
    assert reply.status == 200
    # What is asked for is no media type that anybody could read in an answer.
    assert reply.headers["Content-Type"] == asked.replace("@", ".")
    assert reply.body.startswith(b"\x0a\x032.0\x12")
    assert b"x-kubernetes-group-version-kind\x12" in reply.body
    assert b'[{"group":"apps","kind":"Deployment","version":"v1"}]' in reply.body


async def test_what_is_not_served_says_so(rest: Rest) -> None:
    reply = await rest.get("/api/v1/namespaces/default/pods/p/attach")
    assert (reply.status, reply.json["message"]) == (405, 'attach is not supported on resources of kind "pods"')
    token = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": ["a"]}}
    reply = await rest.ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", token)
    assert (reply.status, reply.json["message"]) == (405, "creating a TokenRequest as token is not supported")
    reply = await rest.get("/api/v1/namespaces", Impersonate_User="somebody")
    assert reply.status == 403
    assert "impersonation" in reply.json["message"]


async def test_a_command_is_refused_as_the_pod_says_whatever_the_client_speaks(rest: Rest) -> None:
    """Clients that were refused a WebSocket ask again without one, and show what they are told then."""
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n9", "containers": [{"name": "main", "image": "i"}]}}
    await rest.ask("POST", "/api/v1/namespaces/default/pods", pod)
    path = "/api/v1/namespaces/default/pods/p/exec?command=true&container=none"
    reply = await rest.ask("POST", path)
    assert (reply.status, reply.json["message"]) == (400, "container none is not valid for pod p")


async def test_a_body_of_no_type_is_json(rest: Rest) -> None:
    body = json.dumps({"metadata": {"name": "untyped"}}).encode()
    url = f"{rest.url}/api/v1/namespaces/default/configmaps"
    async with rest.session.post(url, data=body, skip_auto_headers=("Content-Type",)) as response:
        assert response.status == 201
