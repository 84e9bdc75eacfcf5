"""What users run, on a whole cluster: pods of many kinds, Services from everywhere, updates that go wrong.

One cluster, in a world of its own, serves all tests here. Everything goes through navctl, as a person would do it, and
is checked from outside: by what navctl shows, by what containers say, by requests.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.cri.images import Directory, ImageSource, build_image, busybox_files
from cli import machine
from demo.image import web_image
from demo.steps import DemoError
from demo.world import NODE_ADDRESS, World
from tests.requires import require

BUSYBOX = "registry.test/busybox:1"
PATIENCE = 60.0
# Each look is a process of its own: looking all the time would take the processor from those that are waited for.
PAUSE = 0.4

pytestmark = pytest.mark.timeout(180)

Manifest = dict[str, Any]


def eventually(look: Callable[[], bool]) -> None:
    """Waits until there is something to see. Raises TimeoutError when there is not within the time."""
    deadline = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(PAUSE)


class Cluster:
    """A running cluster and a person at its navctl."""

    def __init__(self, world: World) -> None:
        self.world = world

    def navctl(self, *arguments: str) -> str:
        return self.world.navctl(*arguments)

    def refused(self, *arguments: str) -> str:
        """What navctl says to something that must fail."""
        with pytest.raises(DemoError) as caught:
            self.world.navctl(*arguments)
        return str(caught.value)

    def apply(self, *objects: Manifest, namespace: str = "default") -> str:
        file = self.world.paths.root / "manifest.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        return self.navctl("apply", "-n", namespace, "-f", str(file))

    def statuses(self) -> Mapping[str, str]:
        """The STATUS of each pod."""
        rows = [line.split() for line in self.navctl("get", "pods", "--no-headers").splitlines()]
        return {row[0]: row[2] for row in rows}

    def until(self, statuses: Mapping[str, str]) -> None:
        """Waits until pods have these."""

        def look() -> bool:
            seen = self.statuses()
            return all(seen.get(name) == status for name, status in statuses.items())

        try:
            eventually(look)
        except TimeoutError:
            assert self.statuses() == dict(self.statuses()) | dict(statuses)
            raise

    def ask(self, address: str, port: int, count: int = 1) -> list[str]:
        """The answers of a web server to requests of the host."""
        return self.world.output("demo.load", address, str(port), f"--count={count}").splitlines()

    def ask_from(self, pod: str, address: str, port: int, count: int = 1) -> list[str]:
        """The answers to requests from a pod."""
        request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} {port} | tail -n 1"
        return self.navctl("exec", pod, "--", "sh", "-c", f"for i in $(seq {count}); do {request}; done").splitlines()

    def address(self, service: str) -> str:
        found = self.world.get("service", service)["spec"]["clusterIP"]
        assert isinstance(found, str)
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    require(not machine.obstacles(), "; ".join(machine.obstacles()))
    found = shutil.which("busybox")
    assert found is not None, "machine.obstacles() has looked for it"
    busybox = Path(found)
    images = [
        web_image("v1", busybox),
        ImageSource(
            BUSYBOX, busybox_files(busybox) | {"/tmp": Directory(0o1777)}, ["/bin/sh"], environment={"PATH": "/bin"}
        ),
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
        yield Cluster(world)
    assert not world.remains()


@pytest.fixture(autouse=True)
def nothing_is_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.navctl("delete", "deployments,services,endpointslices,pods,configmaps,secrets", "--all")


def pod(name: str, script: str = "sleep 600", /, *, container: Manifest | None = None, **spec: Any) -> Manifest:
    main = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script]} | (container or {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [main]} | spec,
    }


def web(name: str, **spec: Any) -> Manifest:
    container = {
        "name": "main",
        "image": "registry.test/web:v1",
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    made = pod(name, **spec)
    made["spec"]["containers"] = [container]
    return made


def deployment(name: str, replicas: int, **spec: Any) -> Manifest:
    made = web(name)
    template = {"metadata": {"labels": {"app": name}}, "spec": made["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template} | spec,
    }


def service(name: str, app: str = "", **spec: Any) -> Manifest:
    ports = [{"port": 80, "targetPort": "http"}]
    selector = {"selector": {"app": app}} if app else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": selector | {"ports": ports} | spec,
    }


def config_map(name: str, **data: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def in_order(wanted: Sequence[str], seen: Sequence[str]) -> bool:
    rest = iter(seen)
    return all(each in rest for each in wanted)


def test_the_status_column_while_pods_come_and_go(cluster: Cluster) -> None:
    shown = cluster.world.paths.root / "watch.txt"
    with shown.open("w") as out:
        command = cluster.world.python("cli.navctl", "get", "pods", "--watch")
        watch = subprocess.Popen(command, stdout=out, env=cluster.world.environment)
    try:
        cluster.apply(pod("first", container={"imagePullPolicy": "Never", "image": "registry.test/none:1"}))
        eventually(lambda: "first" in shown.read_text())
        steps = [{"name": name, "image": BUSYBOX, "command": ["sleep", "1"]} for name in ("one", "two")]
        data = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        limited: Manifest = {"container": data, "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}]}
        cluster.apply(
            pod("good", "true", restartPolicy="Never"),
            pod("bad", "echo why > /dev/termination-log; exit 3", restartPolicy="Never"),
            pod("crash", "exit 1"),
            pod("no-command", container={"command": ["/no/such"]}),
            pod("steps", initContainers=steps),
            pod("stuck", initContainers=[steps[0] | {"command": ["false"]}]),
            pod("late", container={"envFrom": [{"configMapRef": {"name": "settings"}}]}),
            pod("large", container={"resources": {"requests": {"cpu": "1000"}}}),
            pod("hungry", "tail /dev/zero", container={"resources": {"limits": {"memory": "16Mi"}}}),
            pod("nameless", container={"image": "No/Such:::Name"}),
            pod("full", "head -c 3000000 /dev/zero > /data/file; sleep 600", **limited),
            pod("brief", "trap 'exit 0' TERM; sleep 600 & wait", activeDeadlineSeconds=8),
        )
        cluster.until(
            {
                "first": "ErrImageNeverPull",
                "good": "Completed",
                "bad": "Error",
                "crash": "CrashLoopBackOff",
                "no-command": "CrashLoopBackOff",
                "steps": "Running",
                "stuck": "Init:CrashLoopBackOff",
                "late": "CreateContainerConfigError",
                "large": "Pending",
                "hungry": "CrashLoopBackOff",
                "nameless": "InvalidImageName",
                "full": "Error",
                "brief": "Completed",
            }
        )
        cluster.apply(config_map("settings", COLOR="blue"))
        cluster.until({"late": "Running"})
        assert "COLOR=blue" in cluster.navctl("exec", "late", "--", "env")
        cluster.navctl("delete", "pod", "steps")
    finally:
        watch.terminate()
        watch.wait()
    seen: dict[str, list[str]] = {}
    header, *rows = [line.split() for line in shown.read_text().splitlines()]
    assert header == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    for row in rows:
        seen.setdefault(row[0], []).append(row[2])
    assert set(seen["good"]) <= {"Pending", "ContainerCreating", "Running", "Completed"}
    assert in_order(["Pending", "ContainerCreating", "Completed"], seen["good"])
    assert in_order(["Init:0/2", "Init:1/2", "PodInitializing", "Running", "Terminating"], seen["steps"])
    assert in_order(["ContainerCreating", "CreateContainerConfigError", "Running"], seen["late"])

    ended = {name: cluster.world.get("pod", name)["status"] for name in ("bad", "no-command", "hungry")}
    assert ended["bad"]["containerStatuses"][0]["state"]["terminated"]["message"] == "why\n"
    assert ended["hungry"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "OOMKilled"
    assert "/no/such" in ended["no-command"]["containerStatuses"][0]["lastState"]["terminated"]["message"]
    for name, said in (
        ("crash", "Back-off restarting failed container main in pod crash"),
        ("large", "0/1 nodes are available: 1 Insufficient cpu."),
        ("first", 'Container image "registry.test/none:1" is not present with pull policy of Never'),
        ("nameless", 'couldn\'t parse image name "No/Such:::Name": invalid reference format'),
        ("full", 'Usage of EmptyDir volume "data" exceeds the limit "1Mi".'),
        ("brief", "Pod was active on the node longer than the specified deadline"),
        ("no-command", 'exec: "/no/such": stat /no/such: no such file or directory'),
    ):
        events = cluster.navctl("describe", "pod", name).partition("Events:")[2]
        assert said in events, events


def test_what_a_container_gets(cluster: Cluster) -> None:
    references = {
        "POD": {"fieldRef": {"fieldPath": "metadata.name"}},
        "ADDRESS": {"fieldRef": {"fieldPath": "status.podIP"}},
        "NODE_ADDRESS": {"fieldRef": {"fieldPath": "status.hostIP"}},
        "MEMORY": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}},
        "PASSWORD": {"secretKeyRef": {"name": "login", "key": "password"}},
        "ABSENT": {"configMapKeyRef": {"name": "settings", "key": "absent", "optional": True}},
    }
    env: list[Manifest] = [{"name": name, "valueFrom": source} for name, source in references.items()]
    env.append({"name": "GREETING", "value": "$(POD)@$(MEMORY) $$(POD) $(NOBODY)"})
    mounts = {"/all": "all", "/settings": "settings", "/memory": "memory", "/data": "data"}
    container = {
        "env": env,
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
        "volumeMounts": [
            *({"name": name, "mountPath": path} for path, name in mounts.items()),
            {"name": "settings", "mountPath": "/one/color", "subPath": "color"},
            {"name": "data", "mountPath": "/part", "subPathExpr": "$(POD)/deep"},
        ],
        "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    }
    projected = [
        {"configMap": {"name": "settings", "items": [{"key": "color", "path": "dir/renamed"}]}},
        {"secret": {"name": "login"}},
        {"configMap": {"name": "nowhere", "optional": True}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    cluster.apply(
        config_map("settings", color="blue"),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": "geheim"}},
        pod(
            "web",
            container=container,
            securityContext={"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000},
            hostAliases=[{"ip": "1.2.3.4", "hostnames": ["elsewhere"]}],
            dnsPolicy="None",
            dnsConfig={"nameservers": ["9.9.9.9"], "searches": ["example.com"]},
            hostname="helm",
            volumes=[
                {"name": "all", "projected": {"sources": projected}},
                {"name": "settings", "configMap": {"name": "settings"}},
                {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
                {"name": "data", "emptyDir": {}},
            ],
        ),
    )
    cluster.until({"web": "Running"})
    address = cluster.world.get("pod", "web")["status"]["podIP"]

    def run(script: str) -> list[str]:
        return cluster.navctl("exec", "web", "--", "sh", "-c", script).splitlines()

    variables = dict(line.split("=", 1) for line in run("env"))
    expected = {
        "POD": "web",
        "ADDRESS": address,
        "NODE_ADDRESS": NODE_ADDRESS,
        "MEMORY": "64",
        "PASSWORD": "geheim",
        "GREETING": "web@64 $(POD) $(NOBODY)",
        "HOSTNAME": "helm",
    }
    assert variables | expected == variables
    assert "ABSENT" not in variables
    files = "/all/dir/renamed /all/password /settings/color /one/color /all/labels"
    assert run(f"for file in {files}; do cat $file; echo; done") == ["blue", "geheim", "blue", "blue", 'app="web"']
    # A change comes to the files of a running container after a while, and not to a subPath.
    cluster.apply(config_map("settings", color="red"))
    assert run("id -u; id -g; id -G; touch /x 2>/dev/null; echo $?; grep CapEff /proc/self/status") == [
        "1000",
        "2000",
        "2000 3000",
        "1",
        "CapEff:\t0000000000000000",
    ]
    assert run("touch /part/x; ls /data/web/deep; stat -c %g /data/web/deep/x") == ["x", "3000"]
    assert run("df -k /memory | tail -n 1")[0].split()[1] == "8192"
    assert run("cat /etc/resolv.conf") == ["search example.com", "nameserver 9.9.9.9"]
    assert ["1.2.3.4", "elsewhere"] in [line.split() for line in run("cat /etc/hosts")]
    eventually(lambda: run("cat /settings/color") == ["red"])
    assert run("cat /one/color") == ["blue"]


def test_services_from_the_host_and_from_pods(cluster: Cluster) -> None:
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP"}],
    }
    shy = web("shy")
    shy["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["false"]}}
    cluster.apply(
        deployment("web", 3),
        shy,
        pod("client"),
        service("named", "web"),
        service("node-port", "web", type="NodePort", ports=[{"port": 80, "targetPort": 8080, "nodePort": 30080}]),
        service("headless", "web", clusterIP="None"),
        service("sticky", "web", sessionAffinity="ClientIP"),
        service("early", "shy", publishNotReadyAddresses=True),
        service("patient", "shy"),
        service("by-hand", ports=[{"port": 80, "targetPort": 8080}]),
    )
    cluster.navctl("rollout", "status", "deployment/web", f"--timeout={PATIENCE:g}s")
    cluster.until({"client": "Running", "shy": "Running"})
    pods = cluster.world.get("pods", "-l", "app=web")["items"]
    answers = {f"v1 {each['metadata']['name']}" for each in pods}
    cluster.apply(slice_ | {"endpoints": [{"addresses": [pods[0]["status"]["podIP"]]}]})

    def all_answer(address: str, port: int) -> None:
        seen: set[str] = set()

        def look() -> bool:
            seen.update(cluster.ask(address, port, 20))
            return seen >= answers

        eventually(look)
        assert seen == answers

    for address, port in ((cluster.address("named"), 80), (NODE_ADDRESS, 30080), ("127.0.0.1", 30080)):
        all_answer(address, port)
        if address != "127.0.0.1":
            assert set(cluster.ask_from("client", address, port, 40)) == answers
    assert len(set(cluster.ask(cluster.address("sticky"), 80, 20))) == 1
    assert len(set(cluster.ask_from("client", cluster.address("sticky"), 80, 12))) == 1
    assert cluster.ask(cluster.address("early"), 80) == ["v1 shy"]
    assert "FAILED ConnectionRefusedError" in cluster.ask(cluster.address("patient"), 80)[0]
    by_hand = f"v1 {pods[0]['metadata']['name']}"
    eventually(lambda: cluster.ask(cluster.address("by-hand"), 80) == [by_hand])
    assert cluster.address("headless") == "None"
    # A pod reaches itself through its Service.
    own = cluster.ask_from(pods[0]["metadata"]["name"], cluster.address("named"), 80, 40)
    assert set(own) == answers
    endpoints = next(
        line.split()[1] for line in cluster.navctl("describe", "svc", "named").splitlines() if "Endpoints:" in line
    )
    assert sorted(endpoints.split(",")) == sorted(f"{each['status']['podIP']}:8080" for each in pods)


def test_an_update_that_fails_takes_nothing_away(cluster: Cluster) -> None:
    cluster.apply(deployment("web", 2), service("web", "web"))
    cluster.navctl("rollout", "status", "deployment/web", f"--timeout={PATIENCE:g}s")
    before = {each["metadata"]["name"] for each in cluster.world.get("pods")["items"]}
    broken = deployment("web", 2, progressDeadlineSeconds=3)
    broken["spec"]["template"]["spec"]["containers"][0]["command"] = ["/no/such"]
    cluster.apply(broken)
    said = cluster.refused("rollout", "status", "deployment/web", f"--timeout={PATIENCE:g}s")
    assert said.endswith('error: deployment "web" exceeded its progress deadline')
    assert set(cluster.ask(cluster.address("web"), 80, 20)) == {f"v1 {name}" for name in before}
    cluster.navctl("rollout", "undo", "deployment/web")
    cluster.navctl("rollout", "status", "deployment/web", f"--timeout={PATIENCE:g}s")

    def look() -> bool:
        names = {each["metadata"]["name"] for each in cluster.world.get("pods")["items"]}
        return names == before

    eventually(look)
    history = cluster.navctl("rollout", "history", "deployment/web").split("\n")
    assert [line.split()[0] for line in history[2:] if line] == ["2", "3"]


def test_a_namespace_goes_with_everything_in_it(cluster: Cluster) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    # It ends by the last signal only, after its grace period: long enough to look meanwhile.
    slow = pod("slow", terminationGracePeriodSeconds=3)
    cluster.apply(deployment("web", 2), service("web", "web"), config_map("settings"), slow, namespace="team")
    cluster.navctl("rollout", "status", "-n", "team", "deployment/web", f"--timeout={PATIENCE:g}s")
    eventually(lambda: cluster.world.get("pod", "slow", "-n", "team")["status"]["phase"] == "Running")
    cluster.navctl("delete", "namespace", "team", "--wait=false")
    assert cluster.navctl("get", "namespace", "team", "--no-headers").split()[1] == "Terminating"
    said = cluster.refused("apply", "-n", "team", "-f", str(cluster.world.paths.root / "manifest.json"))
    assert "forbidden: unable to create new content in namespace team because it is being terminated" in said

    def gone() -> bool:
        names = cluster.navctl("get", "namespaces", "-o", "name").split()
        return "namespace/team" not in names

    eventually(gone)
    left = cluster.world.get("pods,deployments,services", "-A")["items"]
    assert [one["metadata"]["name"] for one in left if one["metadata"]["namespace"] == "team"] == []


def test_a_cluster_that_was_down_goes_on_where_it_was(cluster: Cluster) -> None:
    cluster.apply(deployment("web", 2), service("web", "web"), pod("done", "true", restartPolicy="Never"))
    cluster.navctl("rollout", "status", "deployment/web", f"--timeout={PATIENCE:g}s")
    cluster.until({"done": "Completed"})
    before = {each["metadata"]["uid"] for each in cluster.world.get("pods")["items"]}
    root = f"--root={cluster.world.paths.root}"
    cluster.navctl("down", root)
    assert "nothing listens there: start the cluster" in cluster.refused("get", "pods")
    cluster.navctl("up", root)

    def look() -> bool:
        pods = cluster.world.get("pods", "-l", "app=web")["items"]
        again = [each["status"]["containerStatuses"][0] for each in pods]
        return all(each["ready"] and each["restartCount"] == 1 for each in again)

    eventually(look)
    assert {each["metadata"]["uid"] for each in cluster.world.get("pods")["items"]} == before
    assert cluster.statuses()["done"] == "Completed"
    address = cluster.address("web")
    eventually(lambda: "FAILED" not in str(cluster.ask(address, 80, 5)))
