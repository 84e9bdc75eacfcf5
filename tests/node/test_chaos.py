"""A live cluster is broken on purpose: daemons, disks and sandboxes. Traffic flows on, and everything is put right.

One cluster in a network namespace serves all tests of this file, with three web pods behind a Service. What is random
comes from a seed that is in the test's name; when which daemon dies is still up to the machine, so a failure may need
several runs to show again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agents.cri.images import NAMESPACE, build_image
from agents.mounting import mount, unmount
from cli import machine
from cli.supervisor import pid_file
from demo.application import MANIFEST, is_ready
from demo.image import web_image
from demo.steps import eventually
from demo.world import World
from tests.requires import require

PATIENCE = 90.0
DAEMONS = ("server", "network", "node", "containerd")


class Cluster:
    """The cluster under test, and what is asked of it again and again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.paths = world.paths

    def up(self) -> str:
        """What it said, progress included."""
        command = self.world.python("cli.navctl", "up", f"--root={self.paths.root}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def down(self) -> str:
        return self.world.navctl("down", f"--root={self.paths.root}")

    def apply(self, text: str) -> str:
        file = self.paths.root / f"{secrets.token_hex(4)}.yaml"
        file.write_text(text)
        return self.world.navctl("apply", "-f", str(file))

    def pid(self, daemon: str) -> int | None:
        try:
            return int(pid_file(self.paths.run, daemon).read_text())
        except (OSError, ValueError):
            return None

    def kill(self, *daemons: str) -> None:
        for daemon in daemons:
            pid = self.pid(daemon)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def pods(self) -> Sequence[Any]:
        found: Sequence[Any] = self.world.get("pods", "-A")["items"]
        return found

    def running(self, prefix: str = "web-") -> dict[str, tuple[str, int]]:
        """Id and restarts of the container of each ready pod."""
        return {
            pod["metadata"]["name"]: (status["containerID"].removeprefix("containerd://"), status["restartCount"])
            for pod in self.pods()
            if pod["metadata"]["name"].startswith(prefix) and is_ready(pod)
            for status in pod["status"]["containerStatuses"]
        }

    def ready(self, count: int, prefix: str = "web-") -> dict[str, tuple[str, int]]:
        def look() -> dict[str, tuple[str, int]] | None:
            found = self.running(prefix)
            return found if len(found) == count else None

        return eventually(f"{count} ready pods {prefix}*", look, PATIENCE)

    def ctr(self, *arguments: str) -> str:
        command = ["ctr", "--address", str(self.paths.containerd_socket), "--namespace", NAMESPACE, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def tasks(self) -> Sequence[str]:
        return [line.split()[0] for line in self.ctr("tasks", "list").splitlines()[1:]]

    def sandbox_of(self, container: str) -> str:
        info = json.loads(self.ctr("containers", "info", container))
        return str(info["Spec"]["annotations"]["io.kubernetes.cri.sandbox-id"])

    @contextlib.contextmanager
    def requests(self) -> Iterator[None]:
        """Requests to the web Service run all the while; none of them may fail."""
        address = self.world.get("service", "web")["spec"]["clusterIP"]
        load = self.world.start("demo.load", address, "80", "--interval=0.005")
        try:
            yield
        finally:
            load.send_signal(signal.SIGTERM)
            answers = load.communicate()[0].splitlines()
        failed = [answer for answer in answers if answer.startswith("FAILED")]
        assert answers and not failed, f"{len(failed)} of {len(answers)} requests failed: {sorted(set(failed))}"

    def allocated(self) -> set[str]:
        """The addresses that the network plugin holds for pods."""
        return {place.name for place in (self.paths.lib / "cni").rglob("10.244.*")}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    require(not machine.obstacles(), "; ".join(machine.obstacles()))
    busybox = shutil.which("busybox")
    assert busybox is not None
    world = World(f"navarch-chaos-{secrets.token_hex(3)}")
    with world:
        cluster = Cluster(world)
        # The store gets a small disk, for the test that fills it.
        world.paths.store.mkdir(parents=True)
        mount("tmpfs", world.paths.store, "tmpfs", options="size=24m")
        try:
            cluster.up()
            archive = world.paths.root / "web.tar"
            archive.write_bytes(build_image(web_image("v1", Path(busybox))))
            world.navctl("image", "import", f"--root={world.paths.root}", str(archive))
            cluster.apply(MANIFEST.read_text())
            cluster.ready(3)
            yield cluster
        finally:
            world.navctl("down", f"--root={world.paths.root}", "--purge")
            unmount(world.paths.store)
    assert not world.remains()


@pytest.mark.parametrize("seed", [1])
def test_daemons_killed_at_any_moment_lose_nothing_and_touch_no_container(cluster: Cluster, seed: int) -> None:
    rng = random.Random(seed)
    other = MANIFEST.read_text().partition("---")[0].replace("web\n", "other\n")
    cluster.apply(other)
    before = cluster.ready(3)
    churn = cluster.world.start("tests.node.churn", str(cluster.paths.kubeconfig("admin")), str(seed))
    try:
        with cluster.requests():
            end = time.monotonic() + 10
            while time.monotonic() < end:
                time.sleep(3 * rng.random() ** 2)  # the interval is what is tried here
                cluster.kill(*(DAEMONS if rng.random() < 0.2 else rng.sample(DAEMONS, rng.choice((1, 1, 2, 3)))))
            churn.send_signal(signal.SIGTERM)
            said = json.loads(churn.communicate(timeout=PATIENCE)[0])

            def settled() -> Sequence[Any] | None:
                pods = cluster.pods()
                others = sum(pod["metadata"]["name"].startswith("other-") for pod in pods)
                expected = 3 + said["replicas"] + len(said["pods"])
                return (
                    pods if len(pods) == expected and others == said["replicas"] and all(map(is_ready, pods)) else None
                )

            pods = eventually("everything has come to rest", settled, PATIENCE)
    finally:
        churn.kill()
    assert said["acknowledged"] > 0
    maps = {each["metadata"]["name"]: each["data"] for each in cluster.world.get("configmaps")["items"]}
    assert {name: maps[name]["value"] for name in said["values"]} == said["values"], "an acknowledged write is lost"
    assert cluster.running() == before
    # Nothing was done twice, nothing forgotten: a sandbox and a container each, one address each. (A runtime that is
    # killed while it makes a sandbox may forget the address it had just drawn for it.)
    assert len(cluster.tasks()) == 2 * len(pods)
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(addresses) == len(pods)
    assert addresses <= cluster.allocated()
    reasons = {event.get("reason") for event in cluster.world.get("events", "-A")["items"]}
    assert "NodeNotReady" not in reasons
    cluster.world.navctl("delete", "deployment/other", *(f"pod/{name}" for name in said["pods"]))


def test_a_killed_shim_and_a_killed_sandbox_cost_their_pod_a_restart_and_no_other(cluster: Cluster) -> None:
    victim, *others = sorted(cluster.ready(3))
    for what in ("shim", "sandbox"):
        before = cluster.running()
        container, restarts = before[victim]
        sandbox = cluster.sandbox_of(container)
        if what == "shim":
            (shim,) = (
                int(place.parent.name)
                for place in Path("/proc").glob("[0-9]*/cmdline")
                if (words := _words(place)) and "containerd-shim" in words[0] and sandbox in words
            )
            os.kill(shim, signal.SIGKILL)
        else:
            cluster.ctr("tasks", "kill", "--signal", "SIGKILL", sandbox)

        def replaced(old: str = container) -> dict[str, tuple[str, int]] | None:
            now = cluster.running()
            return now if len(now) == 3 and now[victim][0] != old else None

        after = eventually(f"a new container after its {what} was killed", replaced, PATIENCE)
        assert after[victim][1] == restarts + 1
        assert {name: after[name] for name in others} == {name: before[name] for name in others}
        assert len(cluster.tasks()) == 6
        assert len({pod["status"]["podIP"] for pod in cluster.pods()} & cluster.allocated()) == 3


def test_the_supervisor_killed_containers_run_on_under_the_next(cluster: Cluster) -> None:
    before = cluster.ready(3)
    with cluster.requests():
        cluster.kill("supervisor")
        assert "The cluster is ready." in cluster.up()
        assert "running already" in cluster.up()
        cluster.kill("supervisor", *DAEMONS)
        assert "The cluster is ready." in cluster.up()
        assert cluster.ready(3) == before


def test_a_full_disk_under_the_store_refuses_writes_and_recovers(cluster: Cluster) -> None:
    before = cluster.ready(3)
    filler = cluster.paths.store / "filler"
    free = shutil.disk_usage(cluster.paths.store).free
    # The log writes as it goes: what is left is enough for a few objects, not for all of them.
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - (1 << 18))
    big = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "x" * 60000}}
    file_name = cluster.paths.root / "big.yaml"
    file_name.write_text("\n---\n".join(json.dumps(big | {"metadata": {"name": f"big-{i}"}}) for i in range(12)))
    with cluster.requests():
        done = subprocess.run(
            cluster.world.python("cli.navctl", "apply", "-f", str(file_name)),
            env=cluster.world.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "the disk is full; nothing was written" in done.stderr
        written = [line.split()[0].removeprefix("configmap/") for line in done.stdout.splitlines()]
        filler.unlink()
        again = ("apply", "-f", str(file_name))
        eventually("writes are taken again", lambda: True if _succeeds(cluster, *again) else None, PATIENCE)
        there = {each["metadata"]["name"] for each in cluster.world.get("configmaps")["items"]}
        assert written and set(written) <= there
        assert cluster.ready(3) == before
    cluster.world.navctl("delete", "-f", str(file_name))


def test_a_damaged_store_is_refused_with_its_place_and_a_torn_one_recovers(cluster: Cluster) -> None:
    before = cluster.ready(3)
    supervisor = cluster.pid("supervisor")
    assert supervisor is not None

    @contextlib.contextmanager
    def server_dead() -> Iterator[Path]:
        """The end of the log, while the server is down and stays so."""
        os.kill(supervisor, signal.SIGSTOP)
        try:
            server = os.pidfd_open(cluster.pid("server") or -1)
            signal.pidfd_send_signal(server, signal.SIGKILL)
            # A process descriptor becomes readable when the process has ended.
            assert select.select([server], [], [], PATIENCE)[0]
            os.close(server)
            yield max(cluster.paths.store.glob("log-*"))
        finally:
            os.kill(supervisor, signal.SIGCONT)

    def answers() -> bool | None:
        return True if _succeeds(cluster, "get", "pods") else None

    with cluster.requests():
        with server_dead() as log:
            # The last write is there but for its end: what is behind it was only reserved.
            os.truncate(log, len(log.read_bytes().rstrip(b"\0")) - 1)
        eventually("a store with a torn tail serves", answers, PATIENCE)
        with server_dead() as log:
            sound = log.read_bytes()
            middle = len(sound.rstrip(b"\0")) // 2
            log.write_bytes(sound[:middle] + bytes([sound[middle] ^ 0xFF]) + sound[middle + 1 :])
        said = cluster.paths.log / "server.log"
        eventually(
            "damage is refused with its place",
            lambda: True if f"{log} is damaged at offset" in said.read_text() else None,
            PATIENCE,
        )
        assert not answers()
        log.write_bytes(sound)
        eventually("the repaired store serves", answers, PATIENCE)
    assert cluster.ready(3) == before


def test_down_cleans_up_after_everything_was_killed_and_up_waits_for_it(cluster: Cluster) -> None:
    ours = {*cluster.tasks()}
    cluster.kill("supervisor", "containerd")
    removing = cluster.world.start("cli.navctl", "down", f"--root={cluster.paths.root}")
    # It has the place once the pid file is there and empty.
    eventually("down is at it", lambda: True if removing.poll() is not None or _locked(cluster) else None, PATIENCE)
    assert "The cluster is ready." in cluster.up()
    assert removing.wait(PATIENCE) == 0
    cluster.ready(3)
    assert not ours & {*cluster.tasks()}
    cluster.kill("supervisor", *DAEMONS)
    ours |= {path.name for path in (cluster.paths.run / "containerd").rglob("io.containerd.runtime.v2.task/*/*")}
    cluster.down()
    tables = subprocess.run(cluster.world.command("nft", "list", "tables"), capture_output=True, text=True, check=True)
    assert not tables.stdout
    ours_named = cluster.world.name
    assert not [
        words for place in Path("/proc").glob("[0-9]*/cmdline") if ours_named in " ".join(words := _words(place))
    ]
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if ours_named in line}
    assert mounts == {f"/run/netns/{ours_named}", str(cluster.paths.store)}
    assert not [group for group in Path("/sys/fs/cgroup").glob("*/navarch/*") if group.name in ours]
    assert not [note for note in Path("/var/lib/cni/results").glob("*") if ours & {*note.name.split("-")}]


def _words(place: Path) -> Sequence[str]:
    try:
        return place.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ()


def _succeeds(cluster: Cluster, *arguments: str) -> bool:
    command = cluster.world.python("cli.navctl", *arguments)
    return subprocess.run(command, env=cluster.world.environment, capture_output=True, check=False).returncode == 0


def _locked(cluster: Cluster) -> bool:
    file = pid_file(cluster.paths.run, "supervisor")
    return file.exists() and not file.read_text()
