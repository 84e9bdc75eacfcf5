"""The Kubernetes REST API in front of the same verbs as the gRPC door: paths, JSON, tables and streams, no rules."""
