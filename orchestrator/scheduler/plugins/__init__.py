"""The rules of placing, in the order in which they are asked: the first to refuse a node is the one that explains.

Pods that name their node themselves (spec.nodeName) never come here: they are bound already.
"""

from collections.abc import Sequence

from orchestrator.scheduler.plugins.balanced_allocation import BalancedAllocation
from orchestrator.scheduler.plugins.host_ports import HostPorts
from orchestrator.scheduler.plugins.interface import Plugin
from orchestrator.scheduler.plugins.node_affinity import NodeAffinity
from orchestrator.scheduler.plugins.resources import ResourcesFit
from orchestrator.scheduler.plugins.spreading import OwnerSpreading
from orchestrator.scheduler.plugins.taints import TaintToleration
from orchestrator.scheduler.plugins.unschedulable import Unschedulable

PLUGINS: Sequence[Plugin] = (
    Unschedulable(),
    TaintToleration(),
    NodeAffinity(),
    HostPorts(),
    ResourcesFit(),
    BalancedAllocation(),
    OwnerSpreading(),
)

# What refuses a node for the pods on it: it may say otherwise when one of them goes.
DEPENDENT_ON_PODS = frozenset(plugin.name for plugin in PLUGINS if plugin.depends_on_usage)

__all__ = ["DEPENDENT_ON_PODS", "PLUGINS", "Plugin"]
