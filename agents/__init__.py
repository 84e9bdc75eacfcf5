"""What runs on every machine: the container runtime's client, the node agent, the pod network and the service proxy."""
