"""Sends damaged requests to both doors of a server for as long as one likes.

    python -m tests.fuzz --seconds 600 [--seed N] [--only NUMBER]

The requests of a seed are the same every time and in the same order, also what the server chooses at random. A request
after which something does not hold is printed with its seed and number; running the seed again meets it again, and
`--only` sends it alone. Ends with a line of figures, and 1 if there was any anomaly.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.fuzz.campaign import Campaign
from tests.integration.fuzz.raw_http import request
from tests.integration.fuzz.requests import grpc_request, rest_request
from tests.integration.fuzz.subject import resident_bytes, serving

WARM_REQUESTS = 3000
"""After these, caches are full and what the process holds is its own size."""


async def fuzz(seed: int, seconds: float, only: int | None) -> int:
    """The number of anomalies."""
    with tempfile.TemporaryDirectory(prefix="navarch-fuzz-") as root:
        async with serving(Path(root), seed) as subject:
            campaign = Campaign(subject, seed)
            if only is not None:
                rng = random.Random(f"{seed}/{only}")
                asked = rest_request(rng) if rng.random() < 0.6 else grpc_request(rng)
                print(asked)
                await campaign.judge(asked, f"seed {seed}, request {only}")
                print(*campaign.anomalies, sep="\n")
                return len(campaign.anomalies)
            begun, shown, warm = time.monotonic(), 0, 0
            async for number in campaign.run():
                for anomaly in campaign.anomalies[shown:]:
                    print(anomaly, flush=True)
                shown = len(campaign.anomalies)
                if number == WARM_REQUESTS:
                    warm = resident_bytes()
                if time.monotonic() - begun >= seconds:
                    break
            healthy = await subject.rest(request("GET", "/api/v1/namespaces/default"))
            if healthy is None or healthy.status != 200:
                campaign.tally["anomalies"] += 1
                print(f"a healthy request gets {healthy}")
            grown = f"{(resident_bytes() - warm) / 2**20:+.0f} MiB" if warm else "too few requests to say"
            names = ("requests", "refused", "accepted", "anomalies")
            print(*(f"{name} {campaign.tally[name]}" for name in names), f"memory {grown}", flush=True)
            return campaign.tally["anomalies"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Send damaged requests to both doors of a server")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", type=int, default=None)
    arguments = parser.parse_args()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(errors="backslashreplace")
    seed = random.SystemRandom().randrange(1 << 31) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    return 1 if asyncio.run(fuzz(seed, arguments.seconds, arguments.only)) else 0


if __name__ == "__main__":
    sys.exit(main())
