"""`navarch`: starts daemons in this process, one or several: `navarch server,scheduler,controllers --root /`.

This is what systemd and `navctl up` run. It stays in the foreground, logs to standard error, tells systemd when it is
ready, and ends gracefully at SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cli import machine
from cli.daemons import BUILDERS, HEALTH_PORTS, NODE_PORT, REST_PORT, SERVER_PORT, STORE_PORT, Settings, services
from cli.failure import Failure
from cli.members import check_address, read_members
from orchestrator import logs
from orchestrator.clock import SystemClock
from orchestrator.paths import Paths
from orchestrator.runtime import run_services


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="navarch",
        description="Starts daemons of the container orchestrator Navarch in this process.",
        epilog=f"Daemons: {', '.join(BUILDERS)}. People use navctl.",
    )
    parser.add_argument("daemons", help="the daemons to start, separated by commas", metavar="DAEMON[,DAEMON]")
    parser.add_argument("--root", type=Path, default=Path("/"), help="the directory all files live below (default: /)")
    parser.add_argument("--node-name", default=machine.node_name(), help="this machine's name (default: the host name)")
    parser.add_argument(
        "--node-address", default="", help="this machine's address (default: that of the default route)"
    )
    parser.add_argument("--listen", default=f"0.0.0.0:{SERVER_PORT}", help="where the API server listens")
    parser.add_argument(
        "--store-listen", default=f"0.0.0.0:{STORE_PORT}", help="where the stores of other API servers call"
    )
    parser.add_argument(
        "--store-address", default="", help="where they reach this one (default: the node's address, the same port)"
    )
    parser.add_argument(
        "--store-members",
        default="",
        metavar="NAME=HOST:PORT,...",
        help="the first API servers of a new cluster, this one among them; ignored once the store has begun",
    )
    parser.add_argument(
        "--store-join", action="store_true", help="wait to be added by `navctl member add`; for an empty store only"
    )
    parser.add_argument(
        "--rest-listen",
        default=f"0.0.0.0:{REST_PORT}",
        help="where the API server serves Kubernetes clients (default: %(default)s; empty: nowhere)",
    )
    parser.add_argument("--node-port", type=int, default=NODE_PORT, help="where the node agent listens")
    parser.add_argument("--containerd-socket", type=Path, help="the runtime's socket (default: that of `navctl up`)")
    parser.add_argument("--health-address", help="where /healthz, /readyz and /metrics are served (empty: nowhere)")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--log-format", default="text", choices=["text", "json"])
    given = parser.parse_args(arguments)
    given.names = [name for name in given.daemons.split(",") if name]
    for name in given.names:
        if name not in BUILDERS:
            parser.error(f'there is no daemon "{name}": choose from {", ".join(BUILDERS)}')
    if len(set(given.names)) != len(given.names) or not given.names:
        parser.error("name each daemon once")
    try:
        given.store_members = read_members(given.store_members, given.node_name)
        check_address(given.store_listen, everywhere=True)
        if given.store_address:
            check_address(given.store_address)
    except Failure as error:
        parser.error(str(error))
    if given.store_members and given.store_join:
        parser.error("--store-members begins a cluster and --store-join waits for one: give one of them")
    # The order of the start is ours, not the command line's.
    given.names.sort(key=list(BUILDERS).index)
    if given.health_address is None:
        given.health_address = f"127.0.0.1:{HEALTH_PORTS[given.names[0]]}"
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = parse(arguments)
    logs.setup(given.log_level, given.log_format)
    settings = Settings(
        paths=Paths(given.root),
        node_name=given.node_name,
        node_address=given.node_address or machine.node_address(),
        listen=given.listen,
        rest_listen=given.rest_listen,
        node_port=given.node_port,
        containerd_socket=given.containerd_socket,
        store_listen=given.store_listen,
        store_address=given.store_address,
        store_members=given.store_members,
        store_join=given.store_join,
    )
    opened = services(given.names, settings, SystemClock())
    return run_services(opened, health_address=given.health_address or None)


if __name__ == "__main__":
    sys.exit(main())
