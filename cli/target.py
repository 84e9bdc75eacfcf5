"""Which cluster and namespace a command talks to: the flags every command has, and the connection they lead to."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.failure import Failure
from orchestrator.client import Client
from orchestrator.kubeconfig import Connection, KubeconfigError, load
from orchestrator.paths import Paths

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """What the flags say. An empty namespace means the context's own, which by default is "default"."""

    kubeconfig: str | None
    context: str | None
    namespace: str

    def connection(self) -> Connection:
        """The connection of the first kubeconfig found. Raises KubeconfigError, or Failure when there is none."""
        if self.kubeconfig:
            return load(Path(self.kubeconfig), self.context)
        named = [place for place in os.environ.get("KUBECONFIG", "").split(os.pathsep) if place]
        for place in named:
            if Path(place).exists():
                return load(Path(place), self.context)
        if named:  # and no other cluster is meant
            raise Failure(f"$KUBECONFIG names {' and '.join(named)}, and there is no such file")
        installed, mine = Paths().kubeconfig("admin"), Path.home() / ".kube" / "config"
        if mine.exists():
            try:
                return load(mine, self.context)
            except KubeconfigError:
                # It may be for clusters of other kinds only, and the one on this machine is meant.
                if not os.access(installed, os.R_OK):
                    raise
        if os.access(installed, os.R_OK):
            return load(installed, self.context)
        raise Failure(
            "no cluster to talk to: start one with `navctl up`, or name a kubeconfig by --kubeconfig or $KUBECONFIG"
        )

    def run(self, work: Callable[[Client, str], Awaitable[T]]) -> T:
        """Connects, runs `work(client, namespace)` and closes the connection."""
        connection = self.connection()
        namespace = self.namespace or connection.namespace or "default"

        async def session() -> T:
            async with Client.connect(connection, on_warning=_warn) as client:
                return await work(client, namespace)

        return asyncio.run(session())


def _warn(message: str) -> None:
    click.echo(f"Warning: {message}", err=True)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --kubeconfig, --context and --namespace, and hands the command a Target."""

    @click.option(
        "--kubeconfig", help="Path of the kubeconfig file (default: $KUBECONFIG, ~/.kube/config, /etc/navarch)."
    )
    @click.option("--context", help="The context of the kubeconfig to use.")
    @click.option("-n", "--namespace", default="", help="The namespace (default: the context's).")
    @functools.wraps(command)
    def wrapped(*args: Any, kubeconfig: str | None, context: str | None, namespace: str, **kwargs: Any) -> Any:
        return command(Target(kubeconfig, context, namespace), *args, **kwargs)

    return wrapped
