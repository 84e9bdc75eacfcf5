"""What several components have to agree upon and no schema says: labels, annotations, taints, namespaces, networks.

A name that only one component uses stays with it; here are those that one writes and another reads.
"""

from __future__ import annotations

import ipaddress

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
LEASE_NAMESPACE = "kube-node-lease"
NAMESPACE_FINALIZER = "kubernetes"
REVISION = "deployment.kubernetes.io/revision"
SERVICE_NAME = "kubernetes.io/service-name"
TEMPLATE_HASH = "pod-template-hash"

# Taints that follow a node's condition.
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

# Addresses of pods, cut into one network for each node, and of Services.
POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")
NODE_PREFIX = 24
SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
