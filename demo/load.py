"""Requests to one address, each on a connection of its own: prints what each answered, or how it failed.

Runs as a process inside the demo's network namespace: with a count until that many are done, without one until
SIGTERM.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import sys
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
    given = parser.parse_args()
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    done = 0
    while not stopped and (given.count is None or done < given.count):
        print(request(given.host, given.port), flush=True)
        done += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
