"""What importing the client brings along: a command line starts as fast as this does."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"aiohttp", "rich", "cryptography", "numpy", "yaml", "prometheus_client", "uvloop"}


def test_the_client_is_light() -> None:
    program = "import sys, orchestrator.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
    assert not any(
        name.startswith(("orchestrator.server", "orchestrator.store", "orchestrator.runtime")) for name in loaded
    )
