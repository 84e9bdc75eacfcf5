"""Runs the pods of one machine: what the API wants is brought about in the container runtime, and told back."""
