"""Requests to one address, each on a connection of its own: prints what each answered, or how it failed.

Runs as a process inside the demo's network namespace: with a count until that many are done, without one until
SIGTERM. It prints at its end: a pipe that nobody reads yet would soon make it stand still.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import sys
import time
from types import FrameType

TIMEOUT_SECONDS = 5.0


def request(host: str, port: int) -> str:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read().decode().strip()
        return body if response.status == http.HTTPStatus.OK else f"FAILED status {response.status}"
    except (OSError, http.client.HTTPException) as error:
        return f"FAILED {type(error).__name__}: {error}"
    finally:
        connection.close()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between two requests")
    given = parser.parse_args()
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    answers: list[str] = []
    while not stopped and (given.count is None or len(answers) < given.count):
        answers.append(request(given.host, given.port))
        time.sleep(given.interval)
    print(*answers, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
