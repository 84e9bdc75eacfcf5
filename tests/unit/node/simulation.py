"""A runtime without processes: carries plans out at once, so that histories of thousands of steps cost milliseconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agents.node.container_config import container_hash
from agents.node.notes import Health, Notes
from agents.node.operations import find_container
from agents.node.plan import Actions, Kill, Start, plan_orphan, plan_pod
from agents.node.runtime_state import ContainerRecord, PodRuntime, SandboxRecord, State
from agents.node.status import pod_status
from orchestrator.api.v1 import Container, Pod

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_pod(*names: str, policy: str = "Always", init: tuple[str, ...] = (), sidecars: tuple[str, ...] = ()) -> Pod:
    """A pod of containers of these names; sidecars come before the other init containers."""
    pod = Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = "web", "default", "u1"
    pod.spec.restart_policy = policy
    pod.spec.termination_grace_period_seconds = 30
    for name in sidecars:
        pod.spec.init_containers.add(name=name, image="registry.test/a:1", restart_policy="Always")
    for name in init:
        pod.spec.init_containers.add(name=name, image="registry.test/a:1")
    for name in names or ("main",):
        pod.spec.containers.add(name=name, image="registry.test/a:1")
    return pod


def deleted(pod: Pod, now: datetime, grace: int = 30) -> Pod:
    """The pod as the API has it after a Delete at `now`."""
    marked = Pod()
    marked.CopyFrom(pod)
    marked.metadata.deletion_timestamp.FromDatetime(now + timedelta(seconds=grace))
    marked.metadata.deletion_grace_period_seconds = grace
    return marked


def sandbox(number: int = 0, *, ready: bool = True) -> SandboxRecord:
    return SandboxRecord(f"s{number}", number, ready, START, (f"10.244.0.{number + 1}",))


def record(
    container: Container,
    attempt: int = 0,
    state: State = State.RUNNING,
    *,
    code: int = 0,
    sandbox_id: str = "s0",
    ran: float = 1.0,
    ended: datetime = START,
    crashes: int = 0,
) -> ContainerRecord:
    """One container; an exited one ran so many seconds until `ended`."""
    exited = state is State.EXITED
    return ContainerRecord(
        id=f"{container.name}-{attempt}",
        name=container.name,
        attempt=attempt,
        sandbox_id=sandbox_id,
        state=state,
        created_at=ended - timedelta(seconds=ran),
        started_at=ended - timedelta(seconds=ran) if state in (State.RUNNING, State.EXITED) else None,
        finished_at=ended if exited else None,
        exit_code=code,
        hash=container_hash(container),
        crashes=crashes,
    )


def having(*records: ContainerRecord, sandboxes: tuple[SandboxRecord, ...] = (sandbox(),)) -> PodRuntime:
    runtime = PodRuntime("u1", "web", "default")
    for each in sandboxes:
        runtime = runtime.with_sandbox(each)
    for one in records:
        runtime = runtime.with_container(one)
    return runtime


class SimulatedNode:
    """A pod, its runtime and a clock; `step` plans once and carries everything out."""

    def __init__(self, pod: Pod | None) -> None:
        self.pod = pod
        self.last = pod
        self.runtime = PodRuntime("u1", "web", "default")
        self.now = START
        self.notes = Notes()
        self.finished = False
        self.order: list[str] = []
        self._numbers = 0

    def plan(self) -> Actions:
        if self.pod is None:
            return plan_orphan(self.runtime, self.notes, self.now)
        return plan_pod(self.pod, self.runtime, self.notes, self.now)

    def settle(self, steps: int = 200) -> Actions:
        """Steps until nothing is left to be done now; fails when that never comes."""
        for _ in range(steps):
            actions = self.plan()
            if actions.idle or self.finished:
                return actions
            self.carry_out(actions)
        raise AssertionError(f"no end of it: {actions}")

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def carry_out(self, actions: Actions) -> None:
        assert not self.finished, "planned something for a pod that is gone"
        if actions.create_sandbox is not None:
            for older in actions.create_sandbox.replaces:
                self._stop_sandbox(older)
            self.runtime = self.runtime.with_sandbox(sandbox(actions.create_sandbox.attempt))
        for start in actions.start:
            self._start(start)
        for kill in actions.kill:
            self._kill(kill)
        for sandbox_id in actions.stop_sandboxes:
            self._stop_sandbox(sandbox_id)
        for sandbox_id in actions.remove_sandboxes:
            self.runtime = self.runtime.without_sandbox(sandbox_id)
        for container_id in actions.remove:
            one = self.runtime.container(container_id)
            assert one is not None, "removed what is not there"
            assert not one.running, "removed a running container"
            self.runtime = self.runtime.without_container(container_id)
        if actions.finish:
            assert self.runtime.empty
            self.finished = True
        self.report()
        self.check()

    def report(self) -> None:
        """The status goes to the API, as the agent brings it there."""
        if self.pod is not None:
            self.pod.status.CopyFrom(pod_status(self.pod, self.runtime, self.notes, self.now, host_ips=["192.0.2.1"]))

    def check(self) -> None:
        names = [each.name for each in self.runtime.running]
        assert len(set(names)) == len(names), f"two of one name run: {names}"
        for each in self.runtime.running:
            assert any(box.id == each.sandbox_id for box in self.runtime.sandboxes)

    def exit(self, name: str, code: int = 0) -> None:
        """A container ends by itself."""
        for each in self.runtime.of(name):
            if each.running:
                self.runtime = self.runtime.with_container(
                    replace(each, state=State.EXITED, exit_code=code, finished_at=self.now)
                )

    def kill_sandbox(self) -> None:
        if self.runtime.sandbox is not None:
            self.runtime = self.runtime.with_sandbox(replace(self.runtime.sandbox, ready=False))

    def unhealthy(self, name: str) -> None:
        latest = self.runtime.latest(name)
        if latest is not None and latest.running:
            self.notes = replace(self.notes, health={latest.id: Health(started=True, fault="failed liveness probe")})

    def half_create(self, name: str) -> None:
        """An agent was killed between creating a container and starting it."""
        container = self._container(name)
        box = self.runtime.sandbox
        if box is None or not box.ready or any(each.running for each in self.runtime.of(name)):
            return
        latest = self.runtime.latest(name)
        attempt = 0 if latest is None else latest.attempt + 1
        self._numbers += 1
        made = replace(record(container, attempt, State.CREATED, ended=self.now), id=f"half-{self._numbers}")
        self.runtime = self.runtime.with_container(replace(made, sandbox_id=box.id))

    def forget(self) -> None:
        """The agent is started again."""
        self.notes = Notes()

    def _container(self, name: str) -> Container:
        assert self.last is not None
        container = find_container(self.last, name)
        assert container is not None
        return container

    def _start(self, start: Start) -> None:
        box = self.runtime.sandbox
        assert box is not None
        assert box.ready
        assert box.id == start.sandbox_id
        assert all(each.attempt != start.attempt for each in self.runtime.of(start.name)), "an attempt's number twice"
        self._numbers += 1
        made = record(self._container(start.name), start.attempt, ended=self.now, ran=0, crashes=start.crashes)
        self.runtime = self.runtime.with_container(replace(made, id=f"c{self._numbers}", sandbox_id=box.id))
        self.order.append(f"+{start.name}")

    def _kill(self, kill: Kill) -> None:
        one = self.runtime.container(kill.container_id)
        assert one is not None
        assert one.running, "killed what does not run"
        self.runtime = self.runtime.with_container(
            replace(one, state=State.EXITED, exit_code=137, finished_at=self.now)
        )
        self.order.append(f"-{one.name}")

    def _stop_sandbox(self, sandbox_id: str) -> None:
        for box in self.runtime.sandboxes:
            if box.id == sandbox_id:
                self.runtime = self.runtime.with_sandbox(replace(box, ready=False))
        for each in self.runtime.running:
            assert each.sandbox_id != sandbox_id, "a sandbox was stopped with a container running in it"
