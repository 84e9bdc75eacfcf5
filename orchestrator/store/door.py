"""How a store's door is set up: limits of the connection, for whoever serves its handlers."""

from __future__ import annotations

from typing import Final

DOOR_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # A txn may have 8 MiB; what comes around it is small.
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
