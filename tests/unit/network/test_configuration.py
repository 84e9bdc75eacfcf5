from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.network.configuration import cni_configuration, masquerade_table


def test_pods_get_addresses_of_the_nodes_range() -> None:
    configuration = json.loads(cni_configuration("10.244.3.0/24", Path("/var/lib/navarch/cni")))
    [plugin] = configuration["plugins"]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]
    assert plugin["ipam"]["dataDir"] == "/var/lib/navarch/cni"


@pytest.mark.parametrize("wrong", ["", "10.244.3.1/24", "10.244.3.0/24 } ; flush ruleset", "fd00::/64"])
def test_only_a_network_gets_through(wrong: str) -> None:
    with pytest.raises(ValueError):
        cni_configuration(wrong, Path("/x"))
    with pytest.raises(ValueError):
        masquerade_table(wrong)
