"""What the pod network of a node consists of, as text: the CNI configuration and the masquerading rules. Pure.

Every pod gets a veth pair and a route of its own (the `ptp` plugin) instead of a port of a bridge. All traffic
between two pods of a node then passes the kernel's routing and connection tracking, which Services need: over a bridge
an answer would take the short way at layer 2 and arrive with the pod's address instead of the Service's.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from agents.nftables import remove_table
from orchestrator.api.conventions import POD_NETWORK

TABLE = "navarch_network"
CNI_VERSION = "0.4.0"
CONFIGURATION_FILE = "10-navarch.conflist"


def cni_configuration(pod_cidr: str, state_directory: Path) -> str:
    """The network configuration list for a node's pod CIDR. Raises ValueError when that is not an IPv4 network."""
    network = ipaddress.IPv4Network(pod_cidr)
    pods = {
        "type": "ptp",
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state_directory),
            "ranges": [[{"subnet": str(network)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": CNI_VERSION, "name": "navarch", "plugins": [pods]}, indent=2) + "\n"


def masquerade_table(pod_cidr: str) -> str:
    """The transaction for this node's way out: pods that talk to anything but pods use the machine's address."""
    network = ipaddress.IPv4Network(pod_cidr)
    return (
        remove_table(TABLE)
        + f"""
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority 100;
    ip saddr {network} ip daddr != {POD_NETWORK} masquerade
  }}
}}
"""
    )
