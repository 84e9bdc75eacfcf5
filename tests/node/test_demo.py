"""The demo is a test too: a cluster from nothing, an application's whole life on it, nothing left behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli import machine
from tests.requires import require


@pytest.mark.timeout(600)
def test_the_demo_comes_to_its_end() -> None:
    require(not machine.obstacles(), "; ".join(machine.obstacles()))
    done = subprocess.run([sys.executable, "-m", "demo"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.splitlines()[-1].startswith("demo: ok")
