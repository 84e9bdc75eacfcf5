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
from cli.daemons import BUILDERS, HEALTH_PORTS, NODE_PORT, SERVER_PORT, Settings, services
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
        node_port=given.node_port,
        containerd_socket=given.containerd_socket,
    )
    opened = services(given.names, settings, SystemClock())
    return run_services(opened, health_address=given.health_address or None)


if __name__ == "__main__":
    sys.exit(main())
