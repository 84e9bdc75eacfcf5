"""`navctl logs`: what containers have written."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import click

from cli.durations import DURATION
from cli.failure import Failure
from cli.flags import Command
from cli.pods import containers_of, one_pod
from cli.target import Target, target_options
from orchestrator.api.v1 import Pod
from orchestrator.client import Client

# Lines of each pod when several are asked for by a selector, as with kubectl.
SELECTED_TAIL = 10


@dataclass(frozen=True, slots=True)
class _Options:
    follow: bool
    previous: bool
    timestamps: bool
    since_seconds: int | None
    since_time: datetime | None
    tail: int | None
    limit_bytes: int | None


@click.command(cls=Command)
@target_options
@click.argument("pod", required=False)
@click.argument("container_argument", metavar="[CONTAINER]", required=False)
@click.option("-c", "--container", default="", help="The container, when the pod has several.")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("-p", "--previous", is_flag=True, help="Of the container's run before the present one.")
@click.option("--since", type=DURATION, help="Only lines newer than this: 5m, 1h.")
@click.option("--since-time", type=str, help="Only lines after this time (RFC 3339).")
@click.option("--tail", type=int, help="Only the last lines (-1: all; with a selector 10).")
@click.option("--limit-bytes", type=click.IntRange(min=1), help="At most so many bytes.")
@click.option("--timestamps", is_flag=True, help="Each line with its time.")
@click.option("-l", "--selector", default="", help="Of all pods that a label selector selects.")
@click.option("--all-containers", is_flag=True, help="Of all containers of the pod.")
@click.option("--prefix", is_flag=True, help="Each line with its pod and container.")
def logs(
    target: Target,
    pod: str | None,
    container_argument: str | None,
    container: str,
    follow: bool,
    previous: bool,
    since: float | None,
    since_time: str | None,
    tail: int | None,
    limit_bytes: int | None,
    timestamps: bool,
    selector: str,
    all_containers: bool,
    prefix: bool,
) -> None:
    """Print a container's log: navctl logs web-5d7, navctl logs -f deploy/web."""
    if bool(pod) == bool(selector):
        raise Failure("name a pod (or TYPE/NAME), or select pods by -l")
    if since is not None and since_time is not None:
        raise Failure("at most one of --since and --since-time may be used")
    if container and container_argument:
        raise Failure("only one of -c or an inline [CONTAINER] arg is allowed")
    if all_containers and (container or container_argument):
        raise Failure("--all-containers=true should not be specified with container name")
    if tail is None and selector:
        tail = SELECTED_TAIL
    lines = tail if tail is not None and tail >= 0 else None
    options = _Options(
        follow,
        previous,
        timestamps,
        max(1, round(since)) if since is not None else None,
        _read_time(since_time),
        lines,
        limit_bytes,
    )
    wanted = container_argument or container

    async def work(client: Client, namespace: str) -> None:
        if pod:
            pods: Sequence[Pod] = [await one_pod(client, namespace, pod)]
        else:
            pods = (await client.list(Pod, namespace=namespace, label_selector=selector)).items
            if not pods:
                click.echo(f"No resources found in {namespace} namespace.", err=True)
        sources = [(one, name) for one in pods for name in containers_of(one, wanted, everything=all_containers)]
        if options.follow and len(sources) > 1:
            async with asyncio.TaskGroup() as tasks:
                for one, name in sources:
                    tasks.create_task(_copy(client, one, name, options, prefix))
        else:
            for one, name in sources:
                await _copy(client, one, name, options, prefix)

    target.run(work)


async def _copy(client: Client, pod: Pod, container: str, options: _Options, prefix: bool) -> None:
    start = f"[pod/{pod.metadata.name}/{container}] ".encode() if prefix else b""
    chunks = client.logs(
        pod.metadata.name,
        pod.metadata.namespace,
        container=container,
        follow=options.follow,
        previous=options.previous,
        timestamps=options.timestamps,
        since_seconds=options.since_seconds,
        since_time=options.since_time,
        tail_lines=options.tail,
        limit_bytes=options.limit_bytes,
    )
    async with contextlib.aclosing(chunks):
        async for data in chunks:
            if start:
                data = b"".join(start + line for line in data.splitlines(keepends=True))
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _read_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time
    except ValueError:
        pass
    raise Failure(f'"{text}" is not a time: write it as 2026-01-31T12:00:00Z')
