"""What `navctl get` loads: a command line is as fast as its imports."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"aiohttp", "cryptography", "numpy", "yaml", "prometheus_client", "uvloop", "pysyncobj", "tempfile"}


def test_get_is_light() -> None:
    program = "import sys, cli.navctl, cli.commands.get; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
    # Documents and templates are read by those who ask for them.
    assert not {"cli.jsonpath", "orchestrator.api.codec", "orchestrator.client.informer"} & set(loaded)
    assert not any(name.startswith(("orchestrator.server", "orchestrator.store", "agents")) for name in loaded)
