"""The steps of the demo: an application's life on a cluster, each step checked from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.cri.images import NAMESPACE, build_image
from cli.supervisor import pid_file
from demo.image import web_image
from demo.steps import DemoError, Steps, eventually
from demo.world import World

MANIFEST = Path(__file__).parent / "web.yaml"
VERSIONS = ("v1", "v2")
REQUESTS = 60
# More than any of these takes on a slow machine; the times are printed.
PATIENCE_SECONDS = 60.0


class Application:
    """Carries the steps out in a world. Raises DemoError at the first that fails."""

    def __init__(self, world: World, steps: Steps) -> None:
        self._world = world
        self._steps = steps
        self._address = ""

    def run(self) -> None:
        step = self._steps.run
        world = self._world
        archives = step("build web:v1 and web:v2 from busybox", self._build)
        step("navctl up: node Ready", lambda: world.navctl("up", f"--root={world.paths.root}"))
        step("import both images", lambda: world.navctl("image", "import", f"--root={world.paths.root}", *archives))
        step("apply: 3 pods Running on 3 addresses", self._apply)
        step("requests through the ClusterIP: all 3 answer", lambda: self._answered_by(self._pods("v1", 3)))
        step("a container killed from outside comes back", self._kill_container)
        step("scale to 5", lambda: self._scale(5))
        step("rolling update v1 -> v2 under load", lambda: self._update("v2", self._to_v2))
        step("rollback to v1 under load", lambda: self._update("v1", self._undo))
        step("logs", self._logs)
        step("exec", self._exec)
        step("node agent killed: no container is touched", self._kill_agent)
        step("delete", self._delete)
        step("navctl down", lambda: world.navctl("down", f"--root={world.paths.root}"))

    def _build(self) -> list[str]:
        busybox = shutil.which("busybox")
        assert busybox is not None, "machine.obstacles() has looked for it"
        archives = []
        for version in VERSIONS:
            archive = self._world.paths.root / f"web-{version}.tar"
            archive.write_bytes(build_image(web_image(version, Path(busybox))))
            archives.append(str(archive))
        return archives

    def _apply(self) -> None:
        self._world.navctl("apply", "-f", str(MANIFEST))
        self._world.navctl("rollout", "status", "deployment/web", f"--timeout={PATIENCE_SECONDS:g}s")
        pods = self._pods("v1", 3)
        if len(set(pods.values())) != len(pods):
            raise DemoError(f"addresses are shared: {pods}")
        self._address = self._world.get("service", "web")["spec"]["clusterIP"]

    def _pods(self, version: str, count: int) -> dict[str, str]:
        """Waits until exactly so many pods are ready and run the version; their names and addresses."""

        def look() -> dict[str, str] | None:
            pods = self._world.get("pods", "-l", "app=web")["items"]
            good = {
                pod["metadata"]["name"]: pod["status"]["podIP"]
                for pod in pods
                if is_ready(pod) and pod["spec"]["containers"][0]["image"].endswith(f":{version}")
            }
            return good if len(good) == len(pods) == count else None

        return eventually(f"{count} ready pods of {version}", look, PATIENCE_SECONDS)

    def _request(self, count: int) -> list[str]:
        return self._world.output("demo.load", self._address, "80", f"--count={count}").splitlines()

    def _answered_by(self, pods: Mapping[str, str]) -> None:
        """Requests until every pod has answered; none may fail, and no one else may answer."""

        def look() -> bool | None:
            answers = self._request(REQUESTS)
            seen = {answer.split()[-1] for answer in answers}
            if any(answer.startswith("FAILED") for answer in answers) or not seen <= set(pods):
                raise DemoError(f"unexpected answers: {sorted(set(answers))}")
            return True if seen == set(pods) else None

        eventually("an answer of each pod", look, PATIENCE_SECONDS)

    def _kill_container(self) -> None:
        victim = next(iter(self._pods("v1", 3)))
        before = self._containers()[victim]
        socket = str(self._world.paths.containerd_socket)
        subprocess.run(
            [
                "ctr",
                "--address",
                socket,
                "--namespace",
                NAMESPACE,
                "tasks",
                "kill",
                "--signal",
                "SIGKILL",
                before["id"],
            ],
            check=True,
        )

        def look() -> bool | None:
            after = self._containers().get(victim)
            return (
                True if after and after["id"] != before["id"] and after["restarts"] == before["restarts"] + 1 else None
            )

        eventually(f"a new container in pod {victim}", look, PATIENCE_SECONDS)
        self._answered_by(self._pods("v1", 3))

    def _containers(self) -> dict[str, Any]:
        """The running container of each pod, as the API tells it."""
        found = {}
        for pod in self._world.get("pods", "-l", "app=web")["items"]:
            for status in pod["status"].get("containerStatuses", []):
                if "running" in status["state"]:
                    found[pod["metadata"]["name"]] = {
                        "id": status["containerID"].removeprefix("containerd://"),
                        "restarts": status["restartCount"],
                        "started": status["state"]["running"]["startedAt"],
                    }
        return found

    def _scale(self, count: int) -> None:
        self._world.navctl("scale", "deployment/web", f"--replicas={count}")
        self._answered_by(self._pods("v1", count))

    def _to_v2(self) -> None:
        changed = self._world.paths.root / "web-v2.yaml"
        text = MANIFEST.read_text().replace("web:v1", "web:v2").replace("replicas: 3", "replicas: 5")
        changed.write_text(text)
        self._world.navctl("apply", "-f", str(changed))

    def _undo(self) -> None:
        self._world.navctl("rollout", "undo", "deployment/web")

    def _update(self, version: str, change: Any) -> None:
        """Changes the version while requests run; not one of them may fail."""
        load = self._world.start("demo.load", self._address, "80")
        try:
            change()
            self._world.navctl("rollout", "status", "deployment/web", f"--timeout={PATIENCE_SECONDS:g}s")
            pods = self._pods(version, 5)
        finally:
            load.send_signal(signal.SIGTERM)
            answers = load.communicate()[0].splitlines()
        failed = [answer for answer in answers if answer.startswith("FAILED")]
        if failed or not answers:
            raise DemoError(f"{len(failed)} of {len(answers)} requests failed: {sorted(set(failed))}")
        if not any(answer.startswith(version) for answer in answers):
            raise DemoError(f"nobody answered with {version}")
        self._answered_by(pods)

    def _logs(self) -> None:
        pod = next(iter(self._pods("v1", 5)))
        said = self._world.navctl("logs", pod)
        if f"web v1 starts as {pod}" not in said:
            raise DemoError(f"the log of {pod} is {said!r}")

    def _exec(self) -> None:
        pod, address = next(iter(self._pods("v1", 5).items()))
        shown = self._world.navctl("exec", pod, "--", "sh", "-c", "hostname; ip -o -4 address show eth0")
        if pod not in shown or address not in shown:
            raise DemoError(f"exec in {pod} ({address}) printed {shown!r}")

    def _kill_agent(self) -> None:
        before = self._containers()
        file = pid_file(self._world.paths.run, "node")
        old = int(file.read_text())
        os.kill(old, signal.SIGKILL)
        eventually("a new node agent", lambda: True if int(file.read_text() or old) != old else None, PATIENCE_SECONDS)
        # It works again when a new pod runs.
        self._world.navctl("scale", "deployment/web", "--replicas=6")
        self._pods("v1", 6)
        after = self._containers()
        changed = [pod for pod, container in before.items() if after.get(pod) != container]
        if changed:
            raise DemoError(f"containers have changed: {changed}: {before} -> {after}")

    def _delete(self) -> None:
        self._world.navctl("delete", "-f", str(MANIFEST), f"--timeout={PATIENCE_SECONDS:g}s")
        eventually(
            "all pods gone",
            lambda: True if not self._world.get("pods", "-A")["items"] else None,
            PATIENCE_SECONDS,
        )
        refused = self._request(1)[0]
        if "FAILED" not in refused:
            raise DemoError(f"the Service still answers: {refused}")


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"] and bool(pod["status"].get("podIP"))
