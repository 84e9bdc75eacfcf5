"""A pod that can't be run as it is written, and may be when something else changes."""

from __future__ import annotations


class ConfigError(Exception):
    """`reason` is one word for the container's waiting state, `message` the sentence beside it."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
