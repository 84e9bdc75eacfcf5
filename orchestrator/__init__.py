"""The control plane: the object model, the store, the API server, and what its clients are made of."""
