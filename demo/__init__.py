"""`make demo`: a real application on a real one-machine cluster, from nothing, and nothing left behind."""
