"""The official Python client of Kubernetes with the kubeconfig that a server writes: its typed, dynamic and watch APIs.

The client blocks, so each test is one function that runs beside the event loop the server runs in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.rest.conftest import Rest

# Its types say "or None" of everything that an answer has: nothing is gained by them here.
kubernetes: Any = pytest.importorskip("kubernetes")
client, config, watch = kubernetes.client, kubernetes.config, kubernetes.watch
dynamic: Any = pytest.importorskip("kubernetes.dynamic")
ApiException = client.exceptions.ApiException

NAMESPACE = "default"
Asked = Callable[[Any], None]


@contextmanager
def connected(rest: Rest) -> Iterator[Any]:
    """A client of the server, as `kubectl` would be configured."""
    settings = client.Configuration()
    config.load_kube_config(str(rest.kubeconfig), client_configuration=settings)
    settings.host = rest.url
    with client.ApiClient(settings) as api:
        yield api


async def ask(rest: Rest, questions: Asked) -> None:
    def work() -> None:
        with connected(rest) as api:
            questions(api)

    await asyncio.to_thread(work)


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": name}), data=data)


async def test_the_typed_api(rest: Rest) -> None:
    def questions(api: Any) -> None:
        core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
        assert client.VersionApi(api).get_code().major == "1"
        assert {"default", "kube-system"} <= {each.metadata.name for each in core.list_namespace().items}
        made = core.create_namespaced_config_map(NAMESPACE, config_map("one", color="blue"))
        assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo is not None
        core.patch_namespaced_config_map("one", NAMESPACE, {"data": {"size": "1"}})
        read = core.read_namespaced_config_map("one", NAMESPACE)
        assert read.data == {"color": "blue", "size": "1"}
        read.data = {"color": "red"}
        assert core.replace_namespaced_config_map("one", NAMESPACE, read).data == {"color": "red"}
        read.metadata.resource_version = made.metadata.resource_version
        with pytest.raises(ApiException) as conflict:
            core.replace_namespaced_config_map("one", NAMESPACE, read)
        assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")

        container = client.V1Container(name="main", image="web", ports=[client.V1ContainerPort(container_port=80)])
        labels = {"app": "web"}
        template = client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
        )
        spec = client.V1DeploymentSpec(
            replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=template
        )
        deployment = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
        apps.create_namespaced_deployment(NAMESPACE, deployment, field_manager="test")
        scale = apps.read_namespaced_deployment_scale("web", NAMESPACE)
        scale.spec.replicas = 5
        apps.replace_namespaced_deployment_scale("web", NAMESPACE, scale)
        assert apps.read_namespaced_deployment("web", NAMESPACE).spec.replicas == 5
        assert apps.list_deployment_for_all_namespaces(label_selector="app=none").items == []

        for name in ("two", "three"):
            core.create_namespaced_config_map(NAMESPACE, config_map(name))
        page = core.list_namespaced_config_map(NAMESPACE, limit=2)
        rest_of_it = core.list_namespaced_config_map(NAMESPACE, limit=9, _continue=page.metadata._continue)
        names = [each.metadata.name for each in (*page.items, *rest_of_it.items)]
        assert sorted(names) == names and {"one", "two", "three"} <= set(names)
        core.delete_namespaced_config_map(
            "two", NAMESPACE, body=client.V1DeleteOptions(propagation_policy="Background")
        )
        core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="app=three")
        with pytest.raises(ApiException) as gone:
            core.read_namespaced_config_map("two", NAMESPACE)
        assert gone.value.status == 404

    await ask(rest, questions)


async def test_every_kind_is_listed_as_its_type(rest: Rest) -> None:
    def questions(api: Any) -> None:
        core, batch = client.CoreV1Api(api), client.BatchV1Api(api)
        network, policy = client.NetworkingV1Api(api), client.PolicyV1Api(api)
        for listed in (
            core.list_pod_for_all_namespaces,
            core.list_service_for_all_namespaces,
            core.list_persistent_volume,
            core.list_event_for_all_namespaces,
            batch.list_job_for_all_namespaces,
            batch.list_cron_job_for_all_namespaces,
            network.list_ingress_for_all_namespaces,
            policy.list_pod_disruption_budget_for_all_namespaces,
            client.AutoscalingV2Api(api).list_horizontal_pod_autoscaler_for_all_namespaces,
            client.CoordinationV1Api(api).list_lease_for_all_namespaces,
            client.RbacAuthorizationV1Api(api).list_cluster_role,
            client.StorageV1Api(api).list_storage_class,
            client.EventsV1Api(api).list_event_for_all_namespaces,
        ):
            assert listed().kind.endswith("List")

    await ask(rest, questions)


async def test_the_dynamic_api(rest: Rest) -> None:
    def questions(api: Any) -> None:
        everything = dynamic.DynamicClient(api)
        maps = everything.resources.get(api_version="v1", kind="ConfigMap")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d"}, "data": {"color": "blue"}}
        assert maps.create(body=body, namespace=NAMESPACE).data.color == "blue"
        maps.patch(
            name="d", namespace=NAMESPACE, body={"data": {"x": "1"}}, content_type="application/merge-patch+json"
        )
        applied = {**body, "data": {"color": "red"}}
        again = maps.server_side_apply(
            namespace=NAMESPACE, name="d", body=applied, field_manager="test", force_conflicts=True
        )
        assert again.to_dict()["data"] == {"color": "red", "x": "1"}
        assert maps.get(namespace=NAMESPACE, label_selector="none=here").items == []
        deployments = everything.resources.get(short_names=["deploy"])
        assert (deployments.kind, deployments.api_version) == ("Deployment", "v1")
        maps.delete(name="d", namespace=NAMESPACE)
        with pytest.raises(dynamic.exceptions.NotFoundError):
            maps.get(name="d", namespace=NAMESPACE)

    await ask(rest, questions)


async def test_watches(rest: Rest) -> None:
    def questions(api: Any) -> None:
        core = client.CoreV1Api(api)
        core.create_namespaced_config_map(NAMESPACE, config_map("before"))
        begun = threading.Event()

        def change() -> None:
            begun.wait(10)
            core.create_namespaced_config_map(NAMESPACE, config_map("watched", a="1"))
            core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"a": "2"}})
            core.delete_namespaced_config_map("watched", NAMESPACE)

        changing = threading.Thread(target=change)
        changing.start()
        watching = watch.Watch()
        seen = []
        for event in watching.stream(core.list_namespaced_config_map, NAMESPACE, timeout_seconds=20):
            begun.set()
            found = event["object"]
            if found.metadata.name in {"before", "watched"}:
                seen.append((event["type"], found.metadata.name, (found.data or {}).get("a")))
            if event["type"] == "DELETED":
                watching.stop()
        changing.join()
        assert seen == [
            ("ADDED", "before", None),
            ("ADDED", "watched", "1"),
            ("MODIFIED", "watched", "2"),
            ("DELETED", "watched", "2"),
        ]
        # From where a list was, and no longer than is asked for.
        listed = core.list_namespaced_config_map(NAMESPACE)
        late = watch.Watch().stream(
            core.list_namespaced_config_map,
            NAMESPACE,
            resource_version=listed.metadata.resource_version,
            timeout_seconds=1,
        )
        assert list(late) == []

    await ask(rest, questions)
