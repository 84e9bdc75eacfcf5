"""What a pod's status says of what the runtime has: a table of cases, and what must hold for all of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.node.container_config import container_hash
from agents.node.notes import Failure, Health, Notes, Verdict
from agents.node.runtime_state import ContainerRecord, PodRuntime, SandboxRecord, State
from agents.node.status import pod_status, status_due
from orchestrator.api.codec import part_to_json
from orchestrator.api.timestamps import to_timestamp
from orchestrator.api.v1 import Container, ExecAction, Pod, PodReadinessGate, PodStatus, Probe

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
HOST = ["192.0.2.1"]
PROBE = Probe(exec=ExecAction(command=["true"]))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def container(name: str = "main", **fields: Any) -> Container:
    return Container(name=name, image="registry.test/web:v1", **fields)


def sidecar(name: str = "proxy", **fields: Any) -> Container:
    return container(name, restart_policy="Always", **fields)


def pod(*containers: Container, init: list[Container] | None = None, policy: str = "Always", **spec: Any) -> Pod:
    made = Pod()
    made.metadata.name, made.metadata.namespace, made.metadata.uid, made.metadata.generation = "web", "default", "u", 3
    made.spec.restart_policy = policy
    made.spec.containers.extend(containers or [container()])
    made.spec.init_containers.extend(init or [])
    for field, value in spec.items():
        setattr(made.spec, field, value)
    made.status.start_time.CopyFrom(to_timestamp(ago(60)))
    return made


SANDBOX = SandboxRecord("s0", 0, ready=True, created_at=ago(50), ips=("10.244.0.5",))


def running(name: str = "main", attempt: int = 0, **fields: Any) -> ContainerRecord:
    return ContainerRecord(
        id=f"{name}-{attempt}",
        name=name,
        attempt=attempt,
        sandbox_id="s0",
        state=State.RUNNING,
        created_at=ago(40),
        started_at=ago(39),
        image="registry.test/web:v1",
        image_ref="sha256:abc",
        hash=container_hash(container()),
        **fields,
    )


def exited(
    name: str = "main", attempt: int = 0, code: int = 1, *, ran: float = 5, since: float = 1, **fields: Any
) -> ContainerRecord:
    return replace(
        running(name, attempt, **fields),
        state=State.EXITED,
        exit_code=code,
        started_at=ago(since + ran),
        finished_at=ago(since),
    )


def runtime(*records: ContainerRecord, sandbox: SandboxRecord | None = SANDBOX) -> PodRuntime:
    found = PodRuntime("u", "web", "default", (sandbox,) if sandbox else ())
    for record in records:
        found = found.with_container(record)
    return found


def status(of: Pod, have: PodRuntime, notes: Notes | None = None, now: datetime = NOW) -> PodStatus:
    return pod_status(of, have, notes or Notes(), now, host_ips=HOST)


def failures(reason: str, message: str = "why", *, since: float = 0.0, name: str = "main") -> Notes:
    return Notes(failures={name: Failure(reason, message, ago(since))})


def shown(found: PodStatus) -> str:
    """Phase, Ready, and each container: "Pending -Ready main:ContainerCreating"."""
    ready = next(condition for condition in found.conditions if condition.type == "Ready")
    words = [found.phase, "+Ready" if ready.status == "True" else "-Ready"]
    for each in (*found.init_container_statuses, *found.container_statuses):
        match _which(each.state):
            case "waiting":
                state = each.state.waiting.reason
            case "running":
                state = "running"
            case _:
                state = f"{each.state.terminated.reason}({each.state.terminated.exit_code})"
        words.append(f"{each.name}:{state}{'!' if each.ready else ''}{each.restart_count or ''}")
    if found.reason:
        words.append(f"[{found.reason}]")
    return " ".join(words)


def _which(state: Any) -> str:
    return next(name for name in ("waiting", "running", "terminated") if state.HasField(name))


INIT = [container("first"), container("second")]
PROBED = [container(readiness_probe=PROBE)]
DELETED = to_timestamp(NOW + timedelta(seconds=30))


@pytest.mark.parametrize(
    ("case", "of", "have", "notes", "expected"),
    [
        ("new", pod(), runtime(sandbox=None), Notes(), "Pending -Ready main:ContainerCreating"),
        ("sandbox only", pod(), runtime(), Notes(), "Pending -Ready main:ContainerCreating"),
        ("running", pod(), runtime(running()), Notes(), "Running +Ready main:running!"),
        (
            "one of two runs",
            pod(container(), container("log")),
            runtime(running()),
            Notes(),
            "Pending -Ready main:running! log:ContainerCreating",
        ),
        (
            "postStart still runs",
            pod(),
            runtime(running()),
            Notes(starting=frozenset({"main"})),
            "Pending -Ready main:ContainerCreating",
        ),
        (
            "waits for init",
            pod(init=INIT),
            runtime(),
            Notes(),
            "Pending -Ready first:PodInitializing second:PodInitializing main:PodInitializing",
        ),
        (
            "first init done",
            pod(init=INIT),
            runtime(exited("first", code=0), running("second")),
            Notes(),
            "Pending -Ready first:Completed(0)! second:running main:PodInitializing",
        ),
        (
            "init done",
            pod(init=INIT),
            runtime(exited("first", code=0), exited("second", code=0), running()),
            Notes(),
            "Running +Ready first:Completed(0)! second:Completed(0)! main:running!",
        ),
        (
            "init failed for good",
            pod(init=INIT[:1], policy="Never"),
            runtime(exited("first")),
            Notes(),
            "Failed -Ready first:Error(1) main:PodInitializing",
        ),
        (
            "init fails again and again",
            pod(init=INIT[:1]),
            runtime(exited("first", attempt=2, crashes=2)),
            Notes(),
            "Pending -Ready first:CrashLoopBackOff2 main:PodInitializing",
        ),
        (
            "a sidecar is part of readiness",
            pod(init=[sidecar(readiness_probe=PROBE)]),
            runtime(running("proxy"), running()),
            Notes(),
            "Running -Ready proxy:running main:running!",
        ),
        (
            "sidecar ready",
            pod(init=[sidecar()]),
            runtime(running("proxy"), running()),
            Notes(),
            "Running +Ready proxy:running! main:running!",
        ),
        ("not probed yet", pod(*PROBED), runtime(running()), Notes(), "Running -Ready main:running"),
        (
            "probed",
            pod(*PROBED),
            runtime(running()),
            Notes(health={"main-0": Health(started=True, ready=True)}),
            "Running +Ready main:running!",
        ),
        ("just crashed for the first time", pod(), runtime(exited()), Notes(), "Running -Ready main:Error(1)"),
        (
            "crash loop",
            pod(),
            runtime(exited(attempt=1, crashes=1), exited()),
            Notes(),
            "Running -Ready main:CrashLoopBackOff1",
        ),
        (
            "crash loop also after success",
            pod(),
            runtime(exited(attempt=1, code=0, crashes=1)),
            Notes(),
            "Running -Ready main:CrashLoopBackOff1",
        ),
        (
            "the delay is over",
            pod(),
            runtime(exited(attempt=1, crashes=1, since=11)),
            Notes(),
            "Running -Ready main:Error(1)1",
        ),
        (
            "being started again",
            pod(),
            runtime(exited(attempt=1, crashes=1, since=11)),
            Notes(starting=frozenset({"main"})),
            "Running -Ready main:CrashLoopBackOff1",
        ),
        ("restarted", pod(), runtime(exited(), running(attempt=1)), Notes(), "Running +Ready main:running!1"),
        ("succeeded", pod(policy="Never"), runtime(exited(code=0)), Notes(), "Succeeded -Ready main:Completed(0)"),
        ("failed", pod(policy="Never"), runtime(exited(code=3)), Notes(), "Failed -Ready main:Error(3)"),
        (
            "retried on failure",
            pod(policy="OnFailure"),
            runtime(exited(code=3)),
            Notes(),
            "Running -Ready main:Error(3)",
        ),
        (
            "done on success",
            pod(policy="OnFailure"),
            runtime(exited(code=0)),
            Notes(),
            "Succeeded -Ready main:Completed(0)",
        ),
        (
            "one done, the other runs",
            pod(container(), container("log"), policy="Never"),
            runtime(exited(code=0), running("log")),
            Notes(),
            "Running -Ready main:Completed(0) log:running!",
        ),
        (
            "a sidecar that outlives the others holds the phase",
            pod(init=[sidecar()], policy="Never"),
            runtime(running("proxy"), exited(code=0)),
            Notes(),
            "Running -Ready proxy:running! main:Completed(0)",
        ),
        (
            "out of memory",
            pod(policy="Never"),
            runtime(exited(code=137, reason="OOMKilled")),
            Notes(),
            "Failed -Ready main:OOMKilled(137)",
        ),
        ("pull failed", pod(), runtime(), failures("ErrImagePull"), "Pending -Ready main:ErrImagePull"),
        ("pull waits", pod(), runtime(), failures("ErrImagePull", since=2), "Pending -Ready main:ImagePullBackOff"),
        (
            "pull waits at a restart",
            pod(),
            runtime(exited()),
            failures("ErrImagePull", since=2),
            "Running -Ready main:ImagePullBackOff",
        ),
        (
            "no such config map",
            pod(),
            runtime(),
            failures("CreateContainerConfigError", since=9),
            "Pending -Ready main:CreateContainerConfigError",
        ),
        (
            "no such command",
            pod(),
            runtime(exited(code=128, reason="StartError", ran=0, since=0)),
            failures("RunContainerError"),
            "Running -Ready main:RunContainerError",
        ),
        (
            "no such command, again",
            pod(),
            runtime(exited(code=128, attempt=1, crashes=1, reason="StartError", ran=0, since=2)),
            failures("RunContainerError", since=2),
            "Running -Ready main:CrashLoopBackOff1",
        ),
        (
            "refused",
            pod(),
            runtime(sandbox=None),
            Notes(refused=Verdict("Failed", "OutOfcpu", "Node didn't have enough resource: cpu")),
            "Failed -Ready [OutOfcpu]",
        ),
        (
            "the deadline has passed, it still runs",
            pod(active_deadline_seconds=50),
            runtime(running()),
            Notes(),
            "Running +Ready main:running! [DeadlineExceeded]",
        ),
        (
            "the deadline has passed, it has ended",
            pod(active_deadline_seconds=50),
            runtime(exited(code=143)),
            Notes(),
            "Failed -Ready main:Error(143) [DeadlineExceeded]",
        ),
        (
            "sandbox gone",
            pod(),
            runtime(exited(code=137), sandbox=replace(SANDBOX, ready=False)),
            Notes(),
            "Running -Ready main:Error(137)",
        ),
    ],
)
def test_status(case: str, of: Pod, have: PodRuntime, notes: Notes, expected: str) -> None:
    assert shown(status(of, have, notes)) == expected, case


def test_messages() -> None:
    found = status(pod(), runtime(exited(attempt=4, crashes=5, message="bye")))
    waiting = found.container_statuses[0].state.waiting
    assert waiting.message == "back-off 2m40s restarting failed container=main pod=web_default(u)"
    last = found.container_statuses[0].last_state.terminated
    assert (last.exit_code, last.reason, last.message, last.container_id) == (1, "Error", "bye", "containerd://main-4")
    pull = status(pod(), runtime(), failures("ErrImagePull", "not found", since=5)).container_statuses[0].state.waiting
    assert pull.message == 'Back-off pulling image "registry.test/web:v1": ErrImagePull: not found'


def test_what_a_running_container_shows() -> None:
    found = status(pod(), runtime(exited(), running(attempt=1)))
    assert part_to_json(found.container_statuses[0]) == {
        "name": "main",
        "state": {"running": {"startedAt": "2026-11-22T11:59:21Z"}},
        "lastState": {
            "terminated": {
                "exitCode": 1,
                "reason": "Error",
                "startedAt": "2026-11-22T11:59:54Z",
                "finishedAt": "2026-11-22T11:59:59Z",
                "containerID": "containerd://main-0",
            }
        },
        "ready": True,
        "restartCount": 1,
        "image": "registry.test/web:v1",
        "imageID": "sha256:abc",
        "containerID": "containerd://main-1",
        "started": True,
    }


def test_addresses() -> None:
    found = status(pod(), runtime(running()))
    assert (found.host_ip, found.pod_ip) == ("192.0.2.1", "10.244.0.5")
    assert [each.ip for each in found.host_ips] == ["192.0.2.1"]
    assert [each.ip for each in found.pod_ips] == ["10.244.0.5"]
    on_host = status(pod(host_network=True), runtime(running(), sandbox=replace(SANDBOX, ips=())))
    assert on_host.pod_ip == "192.0.2.1"


def test_the_address_of_what_has_ended_is_remembered_and_of_what_lost_its_sandbox_is_not() -> None:
    for policy, expected in (("Never", "10.244.0.5"), ("Always", "")):
        of = pod(policy=policy)
        of.status.CopyFrom(status(of, runtime(running())))
        found = status(of, runtime(exited(), sandbox=replace(SANDBOX, ready=False, ips=())))
        assert found.pod_ip == expected


def conditions(found: PodStatus) -> dict[str, str]:
    return {each.type: f"{each.status} {each.reason} {each.message}".strip() for each in found.conditions}


def test_conditions_of_a_pod_that_waits_for_everything() -> None:
    of = pod(container(), container("log"), init=INIT)
    assert conditions(status(of, runtime(sandbox=None))) == {
        "PodReadyToStartContainers": "False",
        "Initialized": "False ContainersNotInitialized containers with incomplete status: [first second]",
        "Ready": "False ContainersNotReady containers with unready status: [main log]",
        "ContainersReady": "False ContainersNotReady containers with unready status: [main log]",
        "PodScheduled": "True",
    }


def test_conditions_of_a_pod_that_is_done() -> None:
    found = conditions(status(pod(policy="Never", init=INIT[:1]), runtime(exited("first", code=0), exited(code=0))))
    assert found["Initialized"] == "True PodCompleted"
    assert found["Ready"] == found["ContainersReady"] == "False PodCompleted"
    failed = conditions(status(pod(policy="Never"), runtime(exited())))
    assert failed["Ready"] == "False PodFailed"


def test_times_of_conditions_change_only_with_the_condition() -> None:
    of = pod()
    of.status.CopyFrom(pod_status(of, runtime(), Notes(), ago(30), host_ips=HOST))
    of.status.CopyFrom(status(of, runtime(running())))
    times = {each.type: each.last_transition_time.seconds - int(NOW.timestamp()) for each in of.status.conditions}
    assert times == {
        "PodReadyToStartContainers": -30,
        "Initialized": -30,
        "Ready": 0,
        "ContainersReady": 0,
        "PodScheduled": -30,
    }


def test_readiness_gates() -> None:
    of = pod()
    of.spec.readiness_gates.extend([PodReadinessGate(condition_type="lb"), PodReadinessGate(condition_type="dns")])
    of.status.conditions.add(type="lb", status="False")
    found = status(of, runtime(running()))
    assert conditions(found)["ContainersReady"] == "True"
    assert conditions(found)["Ready"] == (
        'False ReadinessGatesNotReady the status of pod readiness gate "lb" is not "True", but False, '
        'corresponding condition of pod readiness gate "dns" does not exist.'
    )
    of.status.conditions[0].status = "True"
    of.status.conditions.add(type="dns", status="True", reason="Published")
    found = status(of, runtime(running()))
    assert conditions(found)["Ready"] == "True"
    assert conditions(found)["dns"] == "True Published"


def test_health_known_to_the_api_holds_until_the_probes_speak() -> None:
    of = pod(container(readiness_probe=PROBE, startup_probe=PROBE))
    well = Notes(health={"main-0": Health(started=True, ready=True)})
    of.status.CopyFrom(status(of, runtime(running()), well))
    assert shown(status(of, runtime(running()))) == "Running +Ready main:running!"
    assert shown(status(of, runtime(exited(), running(attempt=1)))) == "Running -Ready main:running1"
    ill = Notes(health={"main-0": Health(started=True, ready=False)})
    assert shown(status(of, runtime(running()), ill)) == "Running -Ready main:running"


def test_a_runtime_that_lost_everything() -> None:
    of = pod()
    of.status.CopyFrom(status(of, runtime(exited(), running(attempt=1))))
    found = status(of, runtime(sandbox=None))
    assert shown(found) == "Running -Ready main:ContainerCreating1"
    last = found.container_statuses[0].last_state.terminated
    assert (last.exit_code, last.reason) == (137, "ContainerStatusUnknown")
    ended = pod(policy="Never")
    ended.status.CopyFrom(status(ended, runtime(exited(code=0))))
    assert shown(status(ended, runtime(sandbox=None))) == "Succeeded -Ready main:Completed(0)"


def test_the_end_of_a_deleted_pod() -> None:
    of = pod()
    of.metadata.deletion_timestamp.CopyFrom(DELETED)
    of.metadata.deletion_grace_period_seconds = 30
    assert status(of, runtime(running())).phase == "Running"
    assert status(of, runtime(exited(code=0))).phase == "Succeeded"
    assert status(of, runtime(exited(code=143))).phase == "Failed"
    assert status(of, runtime(sandbox=None)).phase == "Pending"


def test_status_due() -> None:
    assert status_due(Notes(), NOW) is None
    assert status_due(failures("ErrImagePull", since=0.25), NOW) == NOW + timedelta(seconds=0.75)
    assert status_due(failures("ErrImagePull", since=3), NOW) is None


records = st.builds(
    lambda name, attempt, state, code, since: replace(
        exited(name, attempt, code, since=since), state=state, crashes=min(attempt, 3)
    ),
    st.sampled_from(["init", "proxy", "main", "log"]),
    st.integers(0, 3),
    st.sampled_from(list(State)),
    st.sampled_from([0, 1, 137]),
    st.floats(0, 700),
)
pods = st.builds(
    lambda policy, deleted: (
        pod(container(), container("log"), init=[container("init"), sidecar()], policy=policy),
        deleted,
    ),
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.booleans(),
)


@given(pods, st.lists(records, max_size=6, unique_by=lambda record: record.id), st.booleans(), st.booleans())
def test_what_always_holds(made: tuple[Pod, bool], found: list[ContainerRecord], ready: bool, busy: bool) -> None:
    of, deleted = made
    if deleted:
        of.metadata.deletion_timestamp.CopyFrom(DELETED)
    have = runtime(*found, sandbox=replace(SANDBOX, ready=ready))
    notes = Notes(starting=frozenset({"main"}) if busy else frozenset())
    first = status(of, have, notes)
    of.status.CopyFrom(first)
    # What is in the API already is not written again.
    assert status(of, have, notes) == first
    assert [each.name for each in first.container_statuses] in (["main", "log"], [])
    truths = {each.type: each.status == "True" for each in first.conditions}
    assert truths["Ready"] <= truths["ContainersReady"]
    assert (first.phase in ("Succeeded", "Failed")) <= (not have.running)
    for each in (*first.init_container_statuses, *first.container_statuses):
        # Exactly one of the three.
        assert sum(each.state.HasField(state) for state in ("waiting", "running", "terminated")) == 1
        assert not (each.ready and each.state.HasField("waiting"))
