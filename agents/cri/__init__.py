"""The container runtime as the node agent sees it: a typed CRI client, its events, a private containerd, images.

Nothing here knows a Pod: what a pod becomes in the runtime's terms is decided in `agents.node`.
"""
