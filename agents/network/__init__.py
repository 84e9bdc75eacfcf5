"""The pod network of one machine: addresses out of the node's pod CIDR, a way out through the machine's own address."""
