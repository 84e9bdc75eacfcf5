"""Kubernetes' own kubectl on a whole cluster, with the kubeconfig that `navctl up` writes: each of its commands once.

What it prints is compared with what its documentation shows. Everything runs in one world; each test works on objects
of names of its own, and leaves nothing that another one would see.

`attach`, `port-forward`, `proxy` and `debug` are not served: the test of those is about the answer that says so.
`autoscale` is missing here: kubectl 1.32 sends autoscaling/v1, and only autoscaling/v2 is served.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.cri.images import Directory, ImageSource, build_image, busybox_files
from cli import machine
from demo.image import web_image
from demo.world import World
from tests.requires import require

BUSYBOX = "registry.test/busybox:1"
SECONDS = 30.0
PAUSE = 0.1

pytestmark = pytest.mark.timeout(90)


class Kubectl:
    """Runs kubectl in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.directory = world.paths.root / "kubectl"
        self.directory.mkdir()
        home = {"HOME": str(self.directory), "KUBECTL_EXTERNAL_DIFF": "diff -u"}
        self.environment: dict[str, str] = world.environment | home

    def command(self, *arguments: str) -> list[str]:
        return self._world.command("kubectl", *arguments)

    def run(
        self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment | dict(environment or {}),
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd=self.directory,
        )

    def __call__(self, *arguments: str, given: str = "", environment: Mapping[str, str] | None = None) -> str:
        """What it prints; it must succeed."""
        done = self.run(*arguments, given=given, environment=environment)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *arguments: str, given: str = "") -> str:
        """What it says when it must not succeed."""
        done = self.run(*arguments, given=given)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def warned(self, *arguments: str, given: str = "") -> str:
        """What it says on standard error, although it succeeds."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))

    def file(self, name: str, content: str) -> str:
        path = self.directory / name
        path.write_text(content)
        return str(path)

    def busybox(self, name: str, script: str, *more: str) -> None:
        """A pod that runs a script."""
        self("run", name, f"--image={BUSYBOX}", *more, "--command", "--", "sh", "-c", script)

    def server(self, name: str) -> None:
        """A pod that stays, and ends when it is told to."""
        self.busybox(name, 'trap "exit 0" TERM; while :; do sleep 0.2; done')
        self("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=20s")

    def deployment(self, name: str, *more: str) -> None:
        """A Deployment of web servers, and its first rollout."""
        self("create", "deployment", name, "--image=registry.test/web:v1", *more)
        self("rollout", "status", f"deployment/{name}", "--timeout=20s")


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    if shutil.which("kubectl") is None:
        # It is not in Debian: whoever has it, tests with it, and nobody must.
        pytest.skip("needs kubectl")
    require(not machine.obstacles(), "; ".join(machine.obstacles()))
    found = shutil.which("busybox")
    assert found is not None, "machine.obstacles() has looked for it"
    busybox = Path(found)
    files = busybox_files(busybox) | {"/tmp": Directory(0o1777)}
    images = [
        web_image("v1", busybox),
        web_image("v2", busybox),
        ImageSource(BUSYBOX, files, ["/bin/sh"], environment={"PATH": "/bin"}),
    ]
    world = World(f"navarch-test-{secrets.token_hex(3)}")
    with world:
        archives: list[str] = []
        for image in images:
            archive = world.paths.root / f"{len(archives)}.tar"
            archive.write_bytes(build_image(image))
            archives.append(str(archive))
        world.navctl("up", f"--root={world.paths.root}")
        world.navctl("image", "import", f"--root={world.paths.root}", *archives)
        yield Kubectl(world)
    assert not world.remains()


@pytest.fixture(autouse=True)
def nothing_is_left(kubectl: Kubectl) -> Iterator[None]:
    yield
    kubectl("delete", "deployments,services,pods,configmaps", "--all", "--now", "--wait=false")


def config_map(name: str, **data: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}}, "data": data}
    )


def read_terminal(terminal: int) -> bytes:
    """What is shown there; nothing when nobody is at the other end any more."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def words(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_what_the_server_says_of_itself(kubectl: Kubectl) -> None:
    assert re.search(r"^Server Version: v1\.\d+\.\d+\+navarch\.", kubectl("version"), re.MULTILINE)
    assert "Kubernetes control plane" in kubectl("cluster-info")
    assert "is running at" in kubectl("cluster-info")
    versions = kubectl("api-versions").split()
    assert {"v1", "apps/v1", "batch/v1", "autoscaling/v2", "events.k8s.io/v1", "rbac.authorization.k8s.io/v1"} <= set(
        versions
    )
    assert versions == sorted(versions)
    resources = kubectl("api-resources").splitlines()
    assert resources[0].split() == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    assert ["deployments", "deploy", "apps/v1", "true", "Deployment"] in words("\n".join(resources))
    assert "nodes" in kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    who = kubectl("auth", "whoami")
    assert ["Username", "kubernetes-admin"] in words(who)
    assert "system:masters" in who
    assert kubectl("get", "--raw", "/readyz?verbose").endswith("readyz check passed\n")
    # What comes later, gets a clear answer.
    assert kubectl.fails("top", "nodes") == "error: Metrics API not available\n"
    assert 'certificatesigningrequests.certificates.k8s.io "x" not found' in kubectl.fails(
        "certificate", "approve", "x"
    )


def test_explain(kubectl: Kubectl) -> None:
    pod = kubectl("explain", "pod.spec.containers")
    assert "FIELD: containers <[]Container>" in pod
    assert "  imagePullPolicy\t<string>" in pod
    tree = kubectl("explain", "deployments", "--recursive")
    assert "    template\t<PodTemplateSpec>" in tree
    assert "        containers\t<[]Container>" in tree
    assert kubectl("explain", "hpa", "--api-version=autoscaling/v2").startswith("GROUP:      autoscaling\n")
    assert 'field "nothing" does not exist' in kubectl.fails("explain", "pod.spec.nothing")
    assert 'doesn\'t have a resource type "nothing"' in kubectl.fails("explain", "nothing")


def test_get_and_describe(kubectl: Kubectl) -> None:
    kubectl.server("shown")
    header, row = words(kubectl("get", "pod", "shown"))
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row[:4] == ["shown", "1/1", "Running", "0"]
    wide = kubectl("get", "pod", "shown", "-o", "wide").splitlines()
    assert wide[0].split() == [*header, "IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"]
    address = kubectl("get", "pod", "shown", "-o", "jsonpath={.status.podIP}")
    assert address in wide[1]
    assert kubectl("get", "pod", "shown", "-o", "yaml").startswith("apiVersion: v1\nkind: Pod\nmetadata:\n")
    assert kubectl.json("pod", "shown")["metadata"]["name"] == "shown"
    assert kubectl("get", "pod", "shown", "-o", "name") == "pod/shown\n"
    assert kubectl("get", "pod", "shown", "-o", "go-template={{.spec.restartPolicy}}") == "Always"
    columns = kubectl("get", "pods", "-l", "run=shown", "-o", "custom-columns=N:.metadata.name,P:.status.phase")
    assert words(columns) == [["N", "P"], ["shown", "Running"]]
    assert words(kubectl("get", "pods", "--show-labels", "-l", "run=shown"))[1][-1] == "run=shown"
    assert words(kubectl("get", "pods", "-L", "run", "-l", "run=shown"))[0][-1] == "RUN"
    by_field = kubectl(
        "get", "pods", "--field-selector=metadata.name=shown", "--no-headers", "--sort-by=.metadata.name"
    )
    assert [each[0] for each in words(by_field)] == ["shown"]
    everywhere = words(kubectl("get", "services,namespaces", "-A"))
    assert ["NAMESPACE", "NAME", "STATUS", "AGE"] in everywhere or ["NAME", "STATUS", "AGE"] in everywhere
    names = [each[0] for each in words(kubectl("get", "namespaces", "--chunk-size=1", "--no-headers"))]
    assert {"default", "kube-system", "kube-node-lease", "kube-public"} <= set(names)
    assert "pod/shown" in kubectl("get", "all", "-l", "run=shown")
    assert kubectl.fails("get", "pod", "nope") == 'Error from server (NotFound): pods "nope" not found\n'
    assert kubectl.warned("get", "pods", "-l", "no=thing") == "No resources found in default namespace.\n"
    # Every kind has a table, and every kind's table has the columns that its definitions promise.
    listed = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kubectl("get", ",".join(listed), "-A", "-o", "wide")

    told = kubectl("describe", "pod", "shown")
    assert re.search(rf"^IP: +{address}$", told, re.MULTILINE)
    assert "  Normal  Scheduled  " in told
    assert re.search(r"Ready +True", told)
    node = kubectl.json("nodes")["items"][0]["metadata"]["name"]
    assert re.search(r"^Taints: +<none>$", kubectl("describe", "node", node), re.MULTILINE)
    assert "Successfully assigned default/shown to" in kubectl("events", "--for", "pod/shown")
    assert "Successfully assigned default/shown to" in kubectl("get", "events", "--field-selector=reason=Scheduled")
    kubectl("delete", "pod", "shown", "--now")


def test_get_watch_and_wait(kubectl: Kubectl) -> None:
    watch = subprocess.Popen(
        kubectl.command("get", "pods", "-w", "-l", "run=watched", "--output-watch-events"),
        stdout=subprocess.PIPE,
        env=kubectl.environment,
        text=True,
    )
    assert watch.stdout is not None
    try:
        kubectl.busybox("watched", "sleep 0.5", "--restart=Never")
        assert watch.stdout.readline().split() == ["EVENT", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert kubectl("wait", "pod/watched", "--for=condition=Ready", "--timeout=20s") == "pod/watched condition met\n"
        kubectl("wait", "pod/watched", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=20s")
        deleting = subprocess.Popen(kubectl.command("delete", "pod", "watched"), env=kubectl.environment)
        kubectl("wait", "pod/watched", "--for=delete", "--timeout=20s")
        assert deleting.wait(SECONDS) == 0
        seen = []
        for line in watch.stdout:
            seen.append(line.split())
            if seen[-1][0] == "DELETED":
                break
    finally:
        watch.terminate()
        watch.wait()
    assert seen[0][:2] == ["ADDED", "watched"]
    assert {"Running", "Completed"} <= {each[3] for each in seen}
    late = kubectl.fails("wait", "--for=create", "pod/never", "--timeout=1s")
    assert late == "error: timed out waiting for the condition\n"
    # A watch that nothing happens in ends when the client says.
    kubectl("get", "pods", "--watch-only", "--request-timeout=1s", "-l", "no=thing")


def test_apply_and_diff(kubectl: Kubectl) -> None:
    blue = kubectl.file("blue.json", config_map("applied", color="blue", size="1"))
    red = kubectl.file("red.json", config_map("applied", color="red", size="1"))
    assert kubectl("apply", "-f", blue, "--dry-run=server") == "configmap/applied created (server dry run)\n"
    assert kubectl("apply", "-f", blue) == "configmap/applied created\n"
    assert kubectl("apply", "-f", blue) == "configmap/applied unchanged\n"
    changed = kubectl.run("diff", "-f", red)
    assert changed.returncode == 1
    assert "\n-  color: blue\n+  color: red\n" in changed.stdout
    assert kubectl("apply", "-f", red) == "configmap/applied configured\n"
    assert kubectl("diff", "-f", red) == ""
    assert "color: red" in kubectl("apply", "view-last-applied", "configmap/applied")
    # What is taken out of the configuration, is taken out of the object.
    kubectl("apply", "-f", kubectl.file("small.json", config_map("applied", color="red")))
    assert kubectl.json("configmap", "applied")["data"] == {"color": "red"}
    applied = kubectl(
        "apply", "-f", "-", "-l", "a=b", "--prune", "--prune-allowlist=core/v1/ConfigMap", given=blue_list()
    )
    assert applied.splitlines() == ["configmap/kept created", "configmap/applied pruned"]
    kubectl("delete", "configmap", "kept")


def blue_list() -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [json.loads(config_map("kept", color="blue"))]})


def test_server_side_apply(kubectl: Kubectl) -> None:
    blue = kubectl.file("ours.json", config_map("shared", color="blue", size="1"))
    red = kubectl.file("theirs.json", config_map("shared", color="red"))
    assert kubectl("apply", "--server-side", "-f", blue) == "configmap/shared serverside-applied\n"
    refused = kubectl.fails("apply", "--server-side", "-f", red, "--field-manager=other")
    assert refused.startswith('error: Apply failed with 1 conflict: conflict with "kubectl": .data.color\n')
    dry = ("--dry-run=server", "--force-conflicts", "--field-manager=other")
    assert kubectl("apply", "--server-side", "-f", red, *dry).endswith("serverside-applied (server dry run)\n")
    assert kubectl.json("configmap", "shared")["data"]["color"] == "blue"
    kubectl("apply", "--server-side", "-f", red, "--force-conflicts", "--field-manager=other")
    assert kubectl.json("configmap", "shared")["data"] == {"color": "red", "size": "1"}
    shown = kubectl.json("configmap", "shared", "--show-managed-fields")["metadata"]["managedFields"]
    managers = {(each["manager"], each["operation"]): each["fieldsV1"]["f:data"] for each in shown}
    assert managers == {
        ("kubectl", "Apply"): {".": {}, "f:size": {}},
        ("other", "Apply"): {".": {}, "f:color": {}},
    }
    changed = kubectl.run("diff", "--server-side", "--force-conflicts", "-f", blue)
    assert changed.returncode == 1
    assert "\n-  color: red\n+  color: blue\n" in changed.stdout
    # From the client's side to the server's, with nobody in the way.
    kubectl("create", "-f", kubectl.file("moved.json", config_map("moved", color="blue")), "--save-config")
    kubectl("apply", "--server-side", "-f", kubectl.file("moved.json", config_map("moved", color="red")))
    assert kubectl.json("configmap", "moved")["data"] == {"color": "red"}
    kubectl("delete", "configmap", "shared", "moved")


def test_validation(kubectl: Kubectl) -> None:
    unknown = json.dumps(json.loads(config_map("checked", color="blue")) | {"dta": {}})
    said = kubectl.fails("create", "-f", "-", given=unknown)
    assert said.startswith(
        'Error from server (BadRequest): error when creating "STDIN": ConfigMap in version "v1" cannot be handled as a '
        'ConfigMap: strict decoding error: unknown field "dta"'
    )
    assert kubectl.warned("create", "-f", "-", "--validate=warn", given=unknown).startswith(
        'Warning: unknown field "dta"'
    )
    ignored = kubectl.warned("apply", "-f", "-", "--validate=ignore", given=unknown)
    assert ignored.startswith("Warning: resource configmaps/checked is missing the kubectl.kubernetes.io/last-applied")
    assert "unknown field" not in ignored
    said = kubectl.fails("apply", "--server-side", "--force-conflicts", "-f", "-", given=unknown)
    assert 'strict decoding error: unknown field "dta"' in said
    kubectl("delete", "configmap", "checked")
    container = {"name": "main", "image": "registry.test/web:v1", "imagePullPolicy": "Sometimes"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "Wrong"}, "spec": {"containers": [container]}}
    lines = kubectl.fails("create", "-f", "-", given=json.dumps(pod)).splitlines()
    assert lines[0] == 'The Pod "Wrong" is invalid: '
    assert lines[1].startswith('* metadata.name: Invalid value: "Wrong": ')
    assert lines[2].startswith(
        '* spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: '
    )


def test_changes_of_one_object(kubectl: Kubectl) -> None:
    given = kubectl.file("changed.json", config_map("changed", color="blue"))
    kubectl("create", "-f", given)
    said = kubectl.fails("create", "-f", given)
    assert "Error from server (AlreadyExists)" in said
    assert said.endswith('configmaps "changed" already exists\n')
    editor = kubectl.file("editor", "#!/bin/sh\nsed -i 's/color: .*/color: green/' \"$1\"\n")
    Path(editor).chmod(0o755)
    edit = {"EDITOR": editor}
    assert kubectl("edit", "configmap", "changed", environment=edit) == "configmap/changed edited\n"
    again = kubectl.run("edit", "configmap", "changed", environment=edit)
    assert again.stdout + again.stderr == "Edit cancelled, no changes made.\n"

    patches = [("strategic", '{"data":{"x":"1"}}'), ("merge", '{"data":{"color":null}}')]
    patches.append(("json", '[{"op":"add","path":"/data/y","value":"2"}]'))
    for name, patch in patches:
        assert kubectl("patch", "configmap", "changed", f"--type={name}", "-p", patch) == "configmap/changed patched\n"
    assert kubectl.json("configmap", "changed")["data"] == {"x": "1", "y": "2"}
    same = kubectl("patch", "configmap", "changed", "-p", '{"data":{"x":"1"}}')
    assert same == "configmap/changed patched (no change)\n"

    assert kubectl("label", "configmap", "changed", "team=red") == "configmap/changed labeled\n"
    refused = kubectl.fails("label", "configmap", "changed", "team=blue")
    assert refused == "error: 'team' already has a value (red), and --overwrite is false\n"
    kubectl("label", "configmap", "changed", "team=blue", "--overwrite")
    assert kubectl("label", "configmap", "changed", "a-") == "configmap/changed unlabeled\n"
    assert kubectl("annotate", "configmap", "changed", "why=because") == "configmap/changed annotated\n"
    meta = kubectl.json("configmap", "changed")["metadata"]
    assert (meta["labels"], meta["annotations"]) == ({"team": "blue"}, {"why": "because"})

    assert kubectl("replace", "-f", given) == "configmap/changed replaced\n"
    assert kubectl.json("configmap", "changed")["data"] == {"color": "blue"}
    assert kubectl("replace", "--force", "-f", given).endswith("configmap/changed replaced\n")
    assert kubectl.json("configmap", "changed")["metadata"]["uid"] != meta["uid"]
    assert kubectl("delete", "-f", given, "--dry-run=server") == 'configmap "changed" deleted (server dry run)\n'
    assert kubectl("delete", "-f", given) == 'configmap "changed" deleted\n'
    assert kubectl.fails("delete", "-f", given).endswith('configmaps "changed" not found\n')
    kubectl("delete", "-f", given, "--ignore-not-found")


def test_deployments(kubectl: Kubectl) -> None:
    kubectl.deployment("roll", "--port=8080")
    assert (
        kubectl("set", "image", "deployment/roll", "web=registry.test/web:v2") == "deployment.apps/roll image updated\n"
    )
    status = kubectl("rollout", "status", "deployment/roll", "--timeout=20s")
    assert status.endswith('deployment "roll" successfully rolled out\n')
    history = kubectl("rollout", "history", "deployment/roll")
    assert history.startswith("deployment.apps/roll \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n")
    assert "registry.test/web:v2" in kubectl("rollout", "history", "deployment/roll", "--revision=2")
    assert kubectl("rollout", "undo", "deployment/roll") == "deployment.apps/roll rolled back\n"
    image = kubectl("get", "deployment", "roll", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image == "registry.test/web:v1"
    assert kubectl("rollout", "pause", "deployment/roll") == "deployment.apps/roll paused\n"
    assert kubectl("set", "env", "deployment/roll", "A=1") == "deployment.apps/roll env updated\n"
    assert "A=1" in kubectl("set", "env", "deployment/roll", "--list").splitlines()
    limited = kubectl("set", "resources", "deployment/roll", "--limits=memory=64Mi")
    assert limited == "deployment.apps/roll resource requirements updated\n"
    assert kubectl("rollout", "resume", "deployment/roll") == "deployment.apps/roll resumed\n"
    assert kubectl("rollout", "restart", "deployment/roll") == "deployment.apps/roll restarted\n"
    kubectl("rollout", "status", "deployment/roll", "--timeout=20s")

    assert kubectl("scale", "deployment/roll", "--replicas=2") == "deployment.apps/roll scaled\n"
    refused = kubectl.fails("scale", "deployment/roll", "--current-replicas=5", "--replicas=1")
    assert refused == "error: Expected replicas to be 5, was 2\n"
    assert kubectl.json("deployment", "roll", "--subresource=scale")["spec"] == {"replicas": 2}
    told = kubectl("describe", "deployment", "roll")
    assert re.search(r"^Replicas: +2 desired", told, re.MULTILINE)
    assert "NewReplicaSet:" in told
    assert kubectl("expose", "deployment/roll", "--port=80", "--target-port=8080") == "service/roll exposed\n"
    header, row = words(kubectl("get", "service", "roll"))
    assert header == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert [row[1], row[3], row[4]] == ["ClusterIP", "<none>", "80/TCP"]
    assert kubectl("set", "selector", "service/roll", "app=other") == "service/roll selector updated\n"
    kubectl("delete", "deployment,service", "roll")


def test_delete_cascades(kubectl: Kubectl) -> None:
    kubectl.deployment("orphaned")
    owned = ("replicasets,pods", "-l", "app=orphaned", "-o", "name")
    before = kubectl("get", *owned).split()
    assert kubectl("delete", "deployment", "orphaned", "--cascade=orphan") == 'deployment.apps "orphaned" deleted\n'
    assert kubectl("get", *owned).split() == before
    replica_set = before[0]
    assert "ownerReferences" not in kubectl.json(replica_set)["metadata"]
    kubectl("delete", replica_set, "--cascade=foreground")
    # Those who wait for a foreground deletion, wait for what is owned, too.
    assert kubectl("get", *owned) == ""
    kubectl.deployment("quick")
    kubectl("delete", "deployment", "quick")
    kubectl("wait", "--for=delete", "pod", "-l", "app=quick", "--timeout=20s")
    for name in ("one", "two"):
        kubectl("create", "configmap", name)
        kubectl("label", "configmap", name, "these=go")
    assert kubectl("delete", "configmaps", "-l", "these=go").splitlines() == [
        'configmap "one" deleted',
        'configmap "two" deleted',
    ]
    kubectl("create", "namespace", "brief")
    kubectl("create", "configmap", "inside", "-n", "brief")
    assert kubectl("delete", "namespace", "brief") == 'namespace "brief" deleted\n'
    assert "not found" in kubectl.fails("get", "namespace", "brief")


GENERATORS = {
    "configmap": "configmap g --from-literal=a=b",
    "secret": "secret generic g --from-literal=a=b",
    "serviceaccount": "serviceaccount g",
    "namespace": "namespace g",
    "job.batch": f"job g --image={BUSYBOX} -- true",
    "cronjob.batch": f"cronjob g --image={BUSYBOX} --schedule=*/5_*_*_*_* -- true",
    "resourcequota": "quota g --hard=pods=1000",
    "poddisruptionbudget.policy": "pdb g --selector=app=none --min-available=1",
    "priorityclass.scheduling.k8s.io": "priorityclass g --value=10",
    "role.rbac.authorization.k8s.io": "role g --verb=get --resource=pods",
    "clusterrole.rbac.authorization.k8s.io": "clusterrole g --verb=get --resource=nodes",
    "rolebinding.rbac.authorization.k8s.io": "rolebinding g --role=g --serviceaccount=default:g",
    "clusterrolebinding.rbac.authorization.k8s.io": "clusterrolebinding g --clusterrole=g --user=me",
    "ingress.networking.k8s.io": "ingress g --rule=example.com/*=web:80",
    "service": "service clusterip g --tcp=80:8080",
    "deployment.apps": "deployment g --image=registry.test/web:v1 --replicas=0",
}


def test_create_by_generator(kubectl: Kubectl) -> None:
    for kind, line in GENERATORS.items():
        arguments = [each.replace("_", " ") for each in line.split()]
        assert kubectl("create", *arguments) == f"{kind}/g created\n"
    made = [f"{kind}/g" for kind in GENERATORS]
    assert kubectl("get", *made, "-o", "name").split() == made
    for each in ("nodeport g-port --tcp=80", "loadbalancer g-lb --tcp=80", "externalname g-name --external-name=a.b"):
        kubectl("create", "service", *each.split())
    assert re.match(r"80:\d+/TCP$", words(kubectl("get", "service", "g-port"))[1][4])
    assert words(kubectl("get", "service", "g-name"))[1][1:4] == ["ExternalName", "<none>", "a.b"]
    kubectl("create", "job", "g-again", "--from=cronjob/g")
    assert len(re.findall(r"^Name: +g$", kubectl("describe", *made), re.MULTILINE)) == len(made)
    kubectl("delete", *made, "--wait=false")
    kubectl("delete", "service/g-port", "service/g-lb", "service/g-name", "job/g-again", "--ignore-not-found")


def test_logs(kubectl: Kubectl) -> None:
    kubectl.busybox("talks", "echo first; for i in 1 2 3; do echo $i; sleep 0.2; done", "--restart=Never")
    kubectl("wait", "pod/talks", "--for=condition=Ready", "--timeout=20s")
    # It ends with the container.
    assert kubectl("logs", "-f", "talks") == "first\n1\n2\n3\n"
    assert kubectl("logs", "talks", "--tail=1") == "3\n"
    assert kubectl("logs", "talks", "--limit-bytes=3") == "fir"
    stamped = kubectl("logs", "talks", "--timestamps", "--tail=1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z 3\n", stamped)
    assert kubectl("logs", "-l", "run=talks", "--prefix", "--tail=1") == "[pod/talks/talks] 3\n"
    assert kubectl.fails("logs", "talks", "-c", "none") == "error: container none is not valid for pod talks\n"
    said = kubectl.fails("logs", "talks", "--previous")
    assert 'previous terminated container "talks" in pod "talks" not found' in said
    kubectl("delete", "pod", "talks")
    kubectl.busybox("again", "echo life; sleep 0.5; exit 1")
    kubectl("wait", "pod/again", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=20s")
    assert kubectl("logs", "again", "--previous") == "life\n"
    kubectl("delete", "pod", "again", "--now")


def test_exec_and_cp(kubectl: Kubectl) -> None:
    kubectl.server("shell")
    done = kubectl.run("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert done.returncode == 7
    assert done.stdout == "out\n"
    assert done.stderr == "err\ncommand terminated with exit code 7\n"
    assert kubectl("exec", "-i", "shell", "--", "cat", given="through\n") == "through\n"
    assert kubectl("exec", "shell", "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x") == "x" * 3_000_000
    assert 'pods "nope" not found' in kubectl.fails("exec", "nope", "--", "true")
    assert "container none is not valid for pod shell" in kubectl.fails("exec", "shell", "-c", "none", "--", "true")
    assert "/no/such" in kubectl.fails("exec", "shell", "--", "/no/such")

    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    command = kubectl.command("exec", "-it", "shell", "--", "sh", "-c", "tty; sleep 0.5; stty size; exit 5")
    with subprocess.Popen(command, env=kubectl.environment, stdin=theirs, stdout=theirs, stderr=theirs) as terminal:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_terminal(ours), b"")).decode()
    os.close(ours)
    assert re.search(r"/dev/pts/\d+\r\n40 100\r\n", shown), shown
    assert terminal.returncode == 5

    tree = kubectl.directory / "tree"
    (tree / "deep").mkdir(parents=True)
    content = secrets.token_bytes(1 << 20)
    (tree / "deep" / "file").write_bytes(content)
    kubectl("cp", "tree", "shell:/tmp/tree")
    assert kubectl("exec", "shell", "--", "find", "/tmp/tree", "-type", "f") == "/tmp/tree/deep/file\n"
    kubectl("cp", "shell:/tmp/tree/deep/file", "back")
    assert (kubectl.directory / "back").read_bytes() == content
    kubectl("delete", "pod", "shell", "--now")


def test_nodes(kubectl: Kubectl) -> None:
    node = kubectl.json("nodes")["items"][0]["metadata"]["name"]
    assert kubectl("taint", "node", node, "k=v:NoSchedule") == f"node/{node} tainted\n"
    assert "--overwrite is false" in kubectl.fails("taint", "node", node, "k=w:NoSchedule")
    assert kubectl("taint", "node", node, "k-") == f"node/{node} untainted\n"
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"
    kubectl.deployment("drained")
    drained = kubectl("drain", node, "--ignore-daemonsets", "--force", "--timeout=25s")
    lines = drained.splitlines()
    assert lines[0] == f"node/{node} cordoned"
    assert re.search(r"^pod/drained-\S+ evicted$", drained, re.MULTILINE)
    assert lines[-1] == f"node/{node} drained"
    assert words(kubectl("get", "pods", "-l", "app=drained"))[1][2] == "Pending"
    kubectl("delete", "deployment", "drained")
    kubectl("uncordon", node)


def test_what_is_not_served_says_so(kubectl: Kubectl) -> None:
    kubectl.server("plain")
    for arguments in (
        ("attach", "plain"),
        ("port-forward", "plain", ":80"),
        ("debug", "plain", f"--image={BUSYBOX}", "--profile=general"),
        ("get", "--raw", "/api/v1/namespaces/default/pods/plain/proxy/"),
        ("create", "token", "default"),
        ("get", "pods", "--as=somebody"),
    ):
        begun = time.monotonic()
        said = kubectl.fails(*arguments)
        assert re.search(r"not (yet )?(served|supported)", said), said
        assert time.monotonic() - begun < 10
    kubectl("delete", "pod", "plain", "--now")
