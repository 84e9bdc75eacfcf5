"""Names of the API as parts of paths on this machine.

The API server lets no name through that has a slash or begins with a dot. What runs as root on every machine does not
rest on that alone: a name that would lead somewhere else is refused here too.
"""

from __future__ import annotations

from agents.node.errors import ConfigError


def path_part(name: str) -> str:
    """The name, if it is one part of a path and no more. Raises ConfigError."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ConfigError(f"{name!r} can't be part of a path")
    return name
