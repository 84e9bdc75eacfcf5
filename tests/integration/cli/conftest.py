"""`navctl` against the test's own server."""

from __future__ import annotations

import pytest

from tests.integration.cli.commands import Navctl
from tests.integration.running import RunningServer


@pytest.fixture
def navctl(api: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Navctl:
    """Runs commands as the administrator, whose kubeconfig is the only one there is."""
    monkeypatch.setenv("KUBECONFIG", str(api.paths.kubeconfig("admin")))
    monkeypatch.setenv("HOME", str(api.paths.root))
    return Navctl()
