"""Finding the pod and the container that a person means."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cli.failure import Failure
from cli.references import read_references
from orchestrator.api.selectors import from_label_selector, from_labels
from orchestrator.api.v1 import Deployment, Pod, ReplicaSet, Service
from orchestrator.client import Client

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


async def one_pod(client: Client, namespace: str, word: str) -> Pod:
    """The pod of a name, or one of the pods of a workload: "web-5d7-x2x", "pod/web", "deploy/web", "svc/web".

    Of several pods a ready one is taken, the oldest of those. Raises Failure when there is none.
    """
    reference = read_references([word if "/" in word else f"pod/{word}"])[0]
    assert reference.name is not None
    if reference.kind.message not in (Pod, Deployment, ReplicaSet, Service):
        raise Failure(f"cannot get the logs or processes of {reference.kind.singular}/{reference.name}: name a pod")
    if reference.kind.message is Pod:
        return await client.get(Pod, reference.name, namespace)
    obj = await client.get(reference.kind.message, reference.name, namespace)
    if isinstance(obj, Service):
        query = from_labels(obj.spec.selector)
    else:
        assert isinstance(obj, Deployment | ReplicaSet)
        query = from_label_selector(obj.spec.selector)
    pods = [pod for pod in (await client.list(Pod, namespace=namespace)).items if query.matches(pod.metadata.labels)]
    if not pods:
        raise Failure(f"no pods of {reference.kind.singular}/{reference.name} found in {namespace} namespace")
    chosen = min(pods, key=lambda pod: (not _is_ready(pod), pod.metadata.creation_timestamp.seconds, pod.metadata.name))
    if len(pods) > 1:
        click.echo(f"Found {len(pods)} pods, using pod/{chosen.metadata.name}", err=True)
    return chosen


def containers_of(pod: Pod, wanted: str, *, everything: bool = False) -> Sequence[str]:
    """The container of that name, or the pod's default one, or all. Raises Failure for a name the pod has not."""
    spec = pod.spec
    names = [container.name for container in (*spec.init_containers, *spec.containers)]
    if everything:
        return names
    if wanted:
        if wanted not in names:
            raise Failure(f"container {wanted} is not valid for pod {pod.metadata.name}: it has {', '.join(names)}")
        return [wanted]
    default = pod.metadata.annotations.get(DEFAULT_CONTAINER)
    if default in names:
        return [default]
    regular = [container.name for container in spec.containers]
    if len(regular) > 1:
        offered = [*regular, *(f"{container.name} (init)" for container in spec.init_containers)]
        click.echo(f'Defaulted container "{regular[0]}" out of: {", ".join(offered)}', err=True)
    return regular[:1]


def _is_ready(pod: Pod) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions)
