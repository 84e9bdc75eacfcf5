"""`navctl rollout` against running controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from orchestrator.api.v1 import Deployment, ReplicaSet
from orchestrator.client import Client
from orchestrator.clock import SystemClock
from tests.integration.cli.commands import Navctl, line_of
from tests.integration.controllers.cluster import Cluster
from tests.integration.server.objects import deployment

IMAGE = "jsonpath={.spec.template.spec.containers[0].image}"


@pytest.fixture
async def cluster(client: Client) -> AsyncIterator[Cluster]:
    """Controllers and kubelets, and the Deployment web, whose second revision is rolled out."""
    async with Cluster(client, SystemClock()).running() as running:
        first = deployment("web", replicas=2)
        first.metadata.annotations["kubernetes.io/change-cause"] = "first"
        await client.create(first)
        await settled(running)
        await set_image(client, "registry.test/web:v2")
        await settled(running)
        yield running


async def set_image(client: Client, image: str) -> None:
    container = {"name": "main", "image": image}
    change = {
        "metadata": {"annotations": {"kubernetes.io/change-cause": None}},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    await client.patch(Deployment, "web", change, namespace="default")


async def settled(cluster: Cluster) -> None:
    def done() -> bool:
        seen = cluster.informer(Deployment).get("default", "web")
        return (
            seen is not None
            and seen.status.observed_generation == seen.metadata.generation
            and seen.status.updated_replicas == seen.spec.replicas == seen.status.available_replicas
            and seen.status.replicas == seen.spec.replicas
        )

    await cluster.seen(await cluster.client.get(Deployment, "web", "default"))
    await cluster.until(done, "web is rolled out")


async def test_status(navctl: Navctl, cluster: Cluster) -> None:
    said = 'deployment "web" successfully rolled out\n'
    for words in (("deploy/web",), ("deployment", "web"), ("deploy",), ("deploy", "-l", "x!=y")):
        assert await navctl.ok("rollout", "status", *words) == said
    assert await navctl.ok("rollout", "status", "deploy/web", "--revision=2") == said
    error = await navctl.fails("rollout", "status", "deploy/web", "--revision=1")
    assert error == "error: desired revision (1) is different from the running revision (2)"


async def test_status_follows_an_update_to_its_end(navctl: Navctl, cluster: Cluster) -> None:
    cluster.kubelet.starts = lambda pod: False
    await set_image(cluster.client, "registry.test/web:v3")
    async with navctl.process("rollout", "status", "deploy/web") as process:
        line = await line_of(process.stdout)
        while "updated replicas are available" not in line and "new replicas have been updated" not in line:
            assert line == "Waiting for deployment spec update to be observed...", line
            line = await line_of(process.stdout)
        assert line.startswith('Waiting for deployment "web" rollout to finish: ')
        cluster.kubelet.starts = lambda pod: True
        cluster.kubelet.wake()
        rest, _ = await process.communicate()
        assert rest.decode().splitlines()[-1] == 'deployment "web" successfully rolled out'
        assert process.returncode == 0


async def test_status_without_patience(navctl: Navctl, cluster: Cluster) -> None:
    cluster.kubelet.starts = lambda pod: False
    await set_image(cluster.client, "registry.test/none:1")
    result = await navctl("rollout", "status", "deploy/web", "--timeout=100ms")
    assert result.code == 1
    assert result.err.startswith("error: timed out waiting for the condition")
    result = await navctl("rollout", "status", "deploy/web", "--watch=false")
    assert result.code == 0
    assert result.out.startswith("Waiting for deployment")


async def test_status_of_a_deployment_that_goes_away(navctl: Navctl, cluster: Cluster) -> None:
    cluster.kubelet.starts = lambda pod: False
    await set_image(cluster.client, "registry.test/none:1")
    async with navctl.process("rollout", "status", "deploy/web") as process:
        await line_of(process.stdout)
        await cluster.client.delete(Deployment, "web", namespace="default")
        _, err = await process.communicate()
        assert (process.returncode, err) == (1, b'error: object has been deleted: deployment "web"\n')


async def test_history(navctl: Navctl, cluster: Cluster) -> None:
    assert await navctl.ok("rollout", "history", "deploy/web") == (
        "deployment.apps/web\nREVISION  CHANGE-CAUSE\n1         first\n2         <none>\n\n"
    )
    shown = await navctl.ok("rollout", "history", "deploy/web", "--revision=1")
    assert shown.startswith("deployment.apps/web with revision #1\nPod Template:\n")
    assert "registry.test/web:v1" in shown
    error = await navctl.fails("rollout", "history", "deploy/web", "--revision=9")
    assert error == "error: unable to find the specified revision 9 (there are: 1, 2)"


async def test_undo(navctl: Navctl, cluster: Cluster) -> None:
    assert await navctl.ok("rollout", "undo", "deploy/web") == "deployment.apps/web rolled back\n"
    await settled(cluster)
    assert await navctl.ok("get", "deploy", "web", "-o", IMAGE) == "registry.test/web:v1"
    # The label that tells ReplicaSets apart is none of the Deployment's.
    assert await navctl.ok("get", "deploy", "web", "-o", "jsonpath={.spec.template.metadata.labels}") == '{"app":"web"}'
    # The old ReplicaSet came back under a new revision: there is no third one.
    replica_sets = (await cluster.client.list(ReplicaSet)).items
    assert len(replica_sets) == 2
    revisions = {each.metadata.annotations["deployment.kubernetes.io/revision"] for each in replica_sets}
    assert revisions == {"2", "3"}
    said = "deployment.apps/web skipped rollback (current template already matches revision 3)\n"
    assert await navctl.ok("rollout", "undo", "deploy/web", "--to-revision=3") == said
    assert await navctl.ok("rollout", "undo", "deploy/web", "--to-revision=2") == "deployment.apps/web rolled back\n"
    error = await navctl.fails("rollout", "undo", "deploy/web", "--to-revision=7")
    assert error.startswith("error: unable to find specified revision 7 in history")


async def test_undo_without_a_past(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("new"))
    assert await navctl.fails("rollout", "undo", "deploy/new") == (
        'error: no rollout history found for deployment "new"'
    )


async def test_restart(navctl: Navctl, cluster: Cluster) -> None:
    before = (await navctl.ok("get", "pods", "-o", "name")).split()
    assert await navctl.ok("rollout", "restart", "deploy", "web") == "deployment.apps/web restarted\n"
    assert (await navctl.ok("rollout", "status", "deploy/web")).endswith("successfully rolled out\n")
    assert not set(before) & set((await navctl.ok("get", "pods", "-o", "name")).split())


async def test_pause_and_resume(navctl: Navctl, client: Client) -> None:
    await client.create(deployment("web"))
    assert await navctl.fails("rollout", "resume", "deploy/web") == 'error: deployments.apps "web" is not paused'
    assert await navctl.ok("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert await navctl.fails("rollout", "pause", "deploy/web") == 'error: deployments.apps "web" is already paused'
    assert "can't restart paused deployment" in await navctl.fails("rollout", "restart", "deploy/web")
    assert "you cannot rollback a paused deployment" in await navctl.fails("rollout", "undo", "deploy/web")
    assert await navctl.ok("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("status",), "error: name a resource"),
        (("status", "svc/web"), "error: services have no rollouts: name a deployment"),
        (("undo", "deploy/web"), 'Error from server (NotFound): deployments.apps "web" not found'),
        (("stats", "deploy/web"), 'error: unknown command "stats" (did you mean "status"?): see navctl rollout --help'),
        (("restart", "deploy/a", "deploy/b"), 'Error from server (NotFound): deployments.apps "a" not found\nError'),
        (("status", "deploy"), "No resources found in default namespace."),
    ],
)
async def test_wrong_calls(navctl: Navctl, words: tuple[str, ...], said: str) -> None:
    result = await navctl("rollout", *words)
    assert result.out == ""
    assert result.err.startswith(said)
    assert result.code == (0 if said.startswith("No resources") else 1)
