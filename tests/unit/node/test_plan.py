"""What to do next about a pod: a table of single situations, and properties over whole histories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.node.notes import SANDBOX, Failure, Health, Notes, Verdict
from agents.node.plan import Actions, CreateSandbox, Kill, Start, plan_orphan, plan_pod
from agents.node.runtime_state import PodRuntime, State
from orchestrator.api.v1 import Container, Pod
from tests.unit.node.simulation import START, SimulatedNode, deleted, having, make_pod, record, sandbox

EMPTY = PodRuntime("u1", "web", "default")
POD = make_pod("main")
MAIN = POD.spec.containers[0]
TWO = make_pod("main", "other")
NEVER = make_pod("main", policy="Never")
ON_FAILURE = make_pod("main", policy="OnFailure")
INIT = make_pod("main", init=("first", "second"))
FIRST, SECOND = INIT.spec.init_containers
SIDECAR = make_pod("main", sidecars=("side",))
SIDE = SIDECAR.spec.init_containers[0]
EXITED = State.EXITED
GRACE = timedelta(seconds=30)


def seconds(amount: float) -> timedelta:
    return timedelta(seconds=amount)


def with_probe(pod: Pod) -> Pod:
    probed = Pod()
    probed.CopyFrom(pod)
    probed.spec.init_containers[0].startup_probe.exec.command.append("true")
    return probed


def with_deadline(pod: Pod, amount: int) -> Pod:
    limited = Pod()
    limited.CopyFrom(pod)
    limited.spec.active_deadline_seconds = amount
    limited.status.start_time.FromDatetime(START)
    return limited


def with_phase(pod: Pod, phase: str) -> Pod:
    ended = Pod()
    ended.CopyFrom(pod)
    ended.status.phase = phase
    return ended


def remembering(pod: Pod, restarts: int) -> Pod:
    known = Pod()
    known.CopyFrom(pod)
    known.status.container_statuses.add(name="main", container_id="containerd://gone", restart_count=restarts)
    return known


def failed(reason: str = "CreateContainerError", count: int = 1) -> Failure:
    return Failure(reason, "why", START, count)


def crashed(
    attempt: int = 0, *, crashes: int = 0, code: int = 1, ran: float = 1.0, container: Container = MAIN
) -> PodRuntime:
    return having(record(container, attempt, EXITED, code=code, crashes=crashes, ran=ran))


@dataclass(frozen=True)
class Case:
    name: str
    pod: Pod
    runtime: PodRuntime
    expected: Actions
    notes: Notes = field(default_factory=Notes)
    after: float = 0.0


def start(name: str = "main", attempt: int = 0, crashes: int = 0, sandbox_id: str = "s0") -> Actions:
    return Actions(start=(Start(name, attempt, sandbox_id, crashes),))


def kill(container_id: str, name: str, grace: float = 30, why: str = "", *, giving_up: bool = False) -> Actions:
    deadline = START + timedelta(seconds=grace)
    return Actions(kill=(Kill(container_id, name, deadline, why),), give_up_starts=giving_up)


IDLE = Actions()
RUNNING = having(record(MAIN))
ENDING = Actions(give_up_starts=True)

CASES = [
    Case("a new pod begins with a sandbox", POD, EMPTY, Actions(create_sandbox=CreateSandbox(0))),
    Case("one sandbox at a time", POD, EMPTY, IDLE, Notes(sandbox_busy=True)),
    Case("a sandbox that failed is tried again later", POD, EMPTY,
         Actions(look_again_at=START + seconds(1)), Notes(failures={SANDBOX: failed()})),
    Case("and then is", POD, EMPTY, Actions(create_sandbox=CreateSandbox(0)),
         Notes(failures={SANDBOX: failed()}), after=1),
    Case("containers follow the sandbox, all at once", TWO, having(),
         Actions(start=(Start("main", 0, "s0"), Start("other", 0, "s0")))),
    Case("what is being started isn't started again", TWO, having(), start("other"),
         Notes(starting=frozenset({"main"}))),
    Case("all runs: nothing to do", POD, RUNNING, IDLE),
    Case("a container that failed to start waits", POD, having(), Actions(look_again_at=START + seconds(1)),
         Notes(failures={"main": failed()})),
    Case("failures wait longer each time", POD, having(), Actions(look_again_at=START + seconds(4)),
         Notes(failures={"main": failed(count=3)})),
    Case("a failed pull waits ten seconds", POD, having(), Actions(look_again_at=START + seconds(10)),
         Notes(failures={"main": failed("ErrImagePull")})),
    Case("the longest wait for a pull is five minutes", POD, having(), Actions(look_again_at=START + seconds(300)),
         Notes(failures={"main": failed("ErrImagePull", 40)})),
    Case("the first end is forgiven", POD, crashed(), start(attempt=1, crashes=1)),
    Case("so is a good one", POD, crashed(code=0), start(attempt=1, crashes=1)),
    Case("the second end waits ten seconds", POD, crashed(1, crashes=1),
         Actions(look_again_at=START + seconds(10))),
    Case("and starts then", POD, crashed(1, crashes=1), start(attempt=2, crashes=2), after=10),
    Case("the fourth waits forty", POD, crashed(3, crashes=3), Actions(look_again_at=START + seconds(40))),
    Case("the longest wait is five minutes", POD, crashed(90, crashes=90),
         Actions(look_again_at=START + seconds(300))),
    Case("ten minutes of running make up for all", POD, crashed(9, crashes=9, ran=600),
         start(attempt=10, crashes=1)),
    Case("Never: a failed container stays", NEVER, crashed(), Actions(stop_sandboxes=("s0",))),
    Case("Never: the rest of the pod goes on", make_pod("main", "other", policy="Never"),
         having(record(MAIN, 0, EXITED, code=1), record(TWO.spec.containers[1])), IDLE),
    Case("OnFailure: a failed container is started again", ON_FAILURE, crashed(), start(attempt=1, crashes=1)),
    Case("OnFailure: a good end is the end", ON_FAILURE, crashed(code=0), Actions(stop_sandboxes=("s0",))),
    Case("an ended pod is at rest", with_phase(ON_FAILURE, "Succeeded"),
         having(record(MAIN, 0, EXITED), sandboxes=(sandbox(ready=False),)), IDLE),
    Case("what the API has as ended never starts again", with_phase(POD, "Failed"), EMPTY, IDLE),
    Case("init containers come first, one by one", INIT, having(), start("first")),
    Case("the next follows a good end", INIT, having(record(FIRST, 0, EXITED)), start("second")),
    Case("not before", INIT, having(record(FIRST)), IDLE),
    Case("then come the others", INIT, having(record(FIRST, 0, EXITED), record(SECOND, 0, EXITED)), start()),
    Case("a failed init container is started again", INIT, having(record(FIRST, 0, EXITED, code=1)),
         start("first", 1, 1)),
    Case("unless the pod never restarts", make_pod("main", policy="Never", init=("first", "second")),
         having(record(FIRST, 0, EXITED, code=1)), Actions(stop_sandboxes=("s0",))),
    Case("a pod whose containers run is initialized, whatever is left of the init containers", INIT, RUNNING, IDLE),
    Case("a sidecar comes before the others", SIDECAR, having(), start("side")),
    Case("they follow when it runs", SIDECAR, having(record(SIDE)), start()),
    Case("and has started, if it has a startup probe", with_probe(SIDECAR), having(
        replace(record(SIDE), hash="")), IDLE),
    Case("which the probe says", with_probe(SIDECAR), having(replace(record(SIDE), hash="")), start(),
         Notes(health={"side-0": Health(started=True)})),
    Case("a sidecar that ends is started again beside the others", SIDECAR,
         having(record(SIDE, 0, EXITED), record(MAIN)), start("side", 1, 1)),
    Case("sidecars end when the others have", make_pod("main", policy="Never", sidecars=("side",)),
         having(record(SIDE), record(MAIN, 0, EXITED)), kill("side-0", "side", giving_up=True)),
    Case("a failed probe restarts", POD, RUNNING,
         kill("main-0", "main", why="Container main failed liveness probe, will be restarted"),
         Notes(health={"main-0": Health(started=True, fault="failed liveness probe")})),
    Case("with the probe's grace period", POD, RUNNING,
         kill("main-0", "main", 5, why="Container main failed liveness probe, will be restarted"),
         Notes(health={"main-0": Health(started=True, fault="failed liveness probe", grace=5)})),
    Case("once", POD, RUNNING, IDLE,
         Notes(health={"main-0": Health(fault="failed liveness probe")}, stopping={"main-0": START + GRACE})),
    Case("a changed container is made anew", POD, having(replace(record(MAIN), hash="other")),
         kill("main-0", "main", why="Container main definition changed, will be restarted")),
    Case("at once when it has ended", POD, having(replace(record(MAIN, 3, EXITED, crashes=3), hash="other")),
         start(attempt=4)),
    Case("of two of one name the newer stays", POD, having(record(MAIN, 0), record(MAIN, 1)),
         Actions(kill=(Kill("main-0", "main", START, "Container has a successor"),))),
    Case("a container that was created and never started is removed", POD, having(record(MAIN, 0, State.CREATED)),
         Actions(remove=("main-0",))),
    Case("not while it is being started", POD, having(record(MAIN, 0, State.CREATED)), IDLE,
         Notes(starting=frozenset({"main"}))),
    Case("one the runtime lost track of, too", POD, having(record(MAIN, 0, State.UNKNOWN)),
         Actions(remove=("main-0",))),
    Case("two of a name are kept", POD,
         having(record(MAIN, 0, EXITED), record(MAIN, 1, EXITED), record(MAIN, 2)), Actions(remove=("main-0",))),
    Case("each is removed once", POD,
         having(record(MAIN, 0, EXITED), record(MAIN, 1, EXITED), record(MAIN, 2)), IDLE,
         Notes(removing=frozenset({"main-0"}))),
    Case("a dead sandbox ends what runs in it", POD, having(record(MAIN), sandboxes=(sandbox(ready=False),)),
         kill("main-0", "main", why="Pod sandbox has died")),
    Case("and is replaced", POD, having(record(MAIN, 0, EXITED), sandboxes=(sandbox(ready=False),)),
         Actions(create_sandbox=CreateSandbox(1, ("s0",)))),
    Case("its containers are started again, counted on, without delay", POD,
         having(record(MAIN, 4, EXITED, crashes=4), sandboxes=(sandbox(ready=False), sandbox(1))),
         start(attempt=5, sandbox_id="s1")),
    Case("it goes when nothing in it is needed", POD,
         having(record(MAIN, 4, EXITED), record(MAIN, 5, sandbox_id="s1"),
                sandboxes=(sandbox(ready=False), sandbox(1))), Actions(remove_sandboxes=("s0",))),
    Case("a new sandbox is initialized again", INIT,
         having(record(FIRST, 0, EXITED), record(SECOND, 0, EXITED), record(MAIN, 0, EXITED),
                sandboxes=(sandbox(ready=False), sandbox(1))), start("first", 1, sandbox_id="s1")),
    Case("a pod that is never restarted fails with its sandbox", make_pod("main", "other", policy="Never"),
         having(record(MAIN, 0, EXITED), sandboxes=(sandbox(ready=False),)), IDLE),
    Case("what was done for good isn't done again in a new sandbox", make_pod("main", "other", policy="OnFailure"),
         having(record(MAIN, 0, EXITED), sandboxes=(sandbox(ready=False), sandbox(1))),
         start("other", sandbox_id="s1")),
    Case("the API remembers how often a container was started", remembering(POD, 3), having(), start(attempt=4)),
    Case("time is up: everything ends", with_deadline(POD, 60), RUNNING, kill("main-0", "main", 90, giving_up=True),
         after=60),
    Case("until then it is watched", with_deadline(POD, 60), RUNNING, Actions(look_again_at=START + seconds(60))),
    Case("a refused pod does nothing", POD, EMPTY, IDLE, Notes(refused=Verdict("Failed", "OutOfcpu"))),
    Case("deleted: containers end", deleted(POD, START), RUNNING, kill("main-0", "main", giving_up=True)),
    Case("deleted: once", deleted(POD, START), RUNNING, ENDING, Notes(stopping={"main-0": START + GRACE})),
    Case("deleted with less time: sooner", deleted(POD, START, 5), RUNNING, kill("main-0", "main", 5, giving_up=True),
         Notes(stopping={"main-0": START + GRACE}, deletion_seen=START)),
    Case("deleted: the grace period counts from when it was seen", deleted(POD, START), RUNNING,
         kill("main-0", "main", 32, giving_up=True), Notes(deletion_seen=START + seconds(2)), after=3),
    Case("deleted: but an agent that was away goes by the API", deleted(POD, START), RUNNING,
         kill("main-0", "main", 35, giving_up=True), Notes(deletion_seen=START + seconds(100)), after=100),
    Case("deleted: sidecars end last", deleted(SIDECAR, START), having(record(SIDE), record(MAIN)),
         kill("main-0", "main", giving_up=True)),
    Case("deleted: and then", deleted(SIDECAR, START), having(record(SIDE), record(MAIN, 0, EXITED)),
         kill("side-0", "side", giving_up=True)),
    Case("deleted: starts are given up", deleted(POD, START), having(), ENDING,
         Notes(starting=frozenset({"main"}))),
    Case("deleted: then the sandbox goes", deleted(POD, START), having(record(MAIN, 0, EXITED)),
         Actions(remove_sandboxes=("s0",), give_up_starts=True)),
    Case("deleted: once too", deleted(POD, START), having(), ENDING, Notes(removing=frozenset({"s0"}))),
    Case("deleted: then everything else", deleted(POD, START), EMPTY, Actions(finish=True, give_up_starts=True)),
    Case("deleted: a container without a sandbox", deleted(POD, START),
         having(record(MAIN, 0, EXITED), sandboxes=()), Actions(remove=("main-0",), give_up_starts=True)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plan(case: Case) -> None:
    assert plan_pod(case.pod, case.runtime, case.notes, START + timedelta(seconds=case.after)) == case.expected


def test_a_pod_that_the_api_has_no_more_goes() -> None:
    assert plan_orphan(RUNNING, Notes(), START) == kill("main-0", "main", 1, giving_up=True)
    assert plan_orphan(crashed(), Notes(), START) == Actions(remove_sandboxes=("s0",), give_up_starts=True)
    assert plan_orphan(EMPTY, Notes(), START) == Actions(finish=True, give_up_starts=True)


def test_sidecars_start_in_order_and_end_in_reverse() -> None:
    node = SimulatedNode(make_pod("main", sidecars=("one", "two"), init=("init",)))
    node.settle()
    node.exit("init")
    node.settle()
    node.pod = deleted(node.pod or POD, node.now)
    node.settle()
    assert node.order == ["+one", "+two", "+init", "+main", "-main", "-two", "-one"]
    assert node.finished


@pytest.mark.parametrize(
    ("ends", "waits"),
    [(1, 0), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (9, 300)],
)
def test_delays_of_a_container_that_always_fails(ends: int, waits: float) -> None:
    node = SimulatedNode(make_pod())
    node.settle()
    wait = 0.0
    for _ in range(ends):
        node.exit("main", 1)
        # A restart of the agent in between changes nothing.
        node.forget()
        due = node.settle().look_again_at
        wait = (due - node.now).total_seconds() if due is not None else 0.0
        node.wait(wait)
        node.settle()
        assert [each.name for each in node.runtime.running] == ["main"]
    assert wait == waits


Event = Callable[[SimulatedNode], None]
NAMES = ("first", "side", "main", "other")

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        lambda name, code: lambda node: node.exit(name, code), st.sampled_from(NAMES), st.sampled_from([0, 1, 137])
    ),
    st.builds(lambda amount: lambda node: node.wait(amount), st.floats(0, 400)),
    st.just(SimulatedNode.kill_sandbox),
    st.just(SimulatedNode.forget),
    st.builds(lambda name: lambda node: node.unhealthy(name), st.sampled_from(NAMES)),
    st.builds(lambda name: lambda node: node.half_create(name), st.sampled_from(["main", "other", "first"])),
    st.just(lambda node: node.carry_out(node.plan())),
)
PODS = st.builds(
    lambda policy, init, sidecars: make_pod("main", "other", policy=policy, init=init, sidecars=sidecars),
    st.sampled_from(["Always", "OnFailure", "Never"]),
    st.just(("first",)),
    st.just(("side",)),
)


@given(PODS, st.lists(EVENTS, max_size=40))
@settings(deadline=None, max_examples=150)
def test_whatever_happens_the_pod_comes_to_rest_as_it_should(pod: Pod, history: list[Event]) -> None:
    node = SimulatedNode(pod)
    over = ""
    for event in history:
        event(node)
        node.report()
        node.check()
        assert pod.status.phase == over or not over, "an ended pod came back"
        over = pod.status.phase if pod.status.phase in ("Succeeded", "Failed") else ""
    node.forget()
    for _ in range(20):
        # Init containers do their part; delays pass.
        node.settle()
        node.exit("first")
        node.wait(300)
    assert node.settle().idle
    running = {each.name for each in node.runtime.running}
    if pod.status.phase in ("Succeeded", "Failed"):
        assert not running
        assert not any(box.ready for box in node.runtime.sandboxes)
    elif pod.spec.restart_policy == "Always":
        assert running == {"side", "main", "other"}
    for name in NAMES:
        assert len(node.runtime.of(name)) <= 2


@given(PODS, st.lists(EVENTS, max_size=25), st.booleans())
@settings(deadline=None, max_examples=100)
def test_whatever_happened_a_deleted_pod_leaves_nothing(pod: Pod, history: list[Event], orphaned: bool) -> None:
    node = SimulatedNode(pod)
    for event in history:
        event(node)
        node.report()
    node.forget()
    node.pod = None if orphaned else deleted(pod, node.now)
    node.settle()
    assert node.finished
    assert node.runtime.empty
