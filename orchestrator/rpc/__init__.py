"""A gRPC server on the event loop itself, for doors that answer thousands of short calls a second.

grpc.aio hands every call between its own threads and the event loop, several times, which costs more than most of our
calls do. This one reads HTTP/2 in the loop's own callbacks and answers everything that came together in one write. It
speaks what gRPC's clients speak and serves the same handlers; what it leaves out (compression, no TLS) it refuses.
"""

from __future__ import annotations

from orchestrator.rpc.connection import Limits
from orchestrator.rpc.server import FastServer, server_tls

__all__ = ["FastServer", "Limits", "server_tls"]
