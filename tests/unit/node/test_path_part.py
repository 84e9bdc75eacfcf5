"""Names from the API never lead out of the directories they are meant for."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.node.errors import ConfigError
from agents.node.mounts import termination_message_file
from agents.node.path_part import path_part
from agents.node.sandbox_config import pod_log_directory
from orchestrator.api.v1 import ObjectMeta, Pod


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/../../b", "a\0b", ".hidden"])
def test_what_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="can't be part of a path"):
        path_part(name)
    with pytest.raises(ConfigError):
        termination_message_file(Path("/pods/x"), name, 0)


def test_names_are_parts() -> None:
    assert path_part("web-1") == "web-1"


def test_a_pod_of_another_place() -> None:
    pod = Pod(metadata=ObjectMeta(namespace="default", name="../../../etc", uid="u"))
    with pytest.raises(ConfigError):
        pod_log_directory(Path("/var/log/pods"), pod)
