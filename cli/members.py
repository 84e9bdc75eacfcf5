"""The members of a store as the command line writes them: n1=10.0.0.1:7444,n2=10.0.0.2:7444."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from cli.failure import Failure

_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9]([-.A-Za-z0-9]{0,251}[A-Za-z0-9])?")


def check_name(name: str) -> str:
    """The name. Raises Failure for what can be no member's."""
    if not _NAME.fullmatch(name):
        raise Failure(f'"{name}" is no name for a member: it is the node\'s, in lower case, such as n2')
    return name


def check_address(address: str, *, everywhere: bool = False) -> str:
    """The address. Raises Failure for what can be no member's. `everywhere`: to listen at, so 0.0.0.0 and port 0 do."""
    host, separator, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    if not separator or not _is_host(host) or not (not everywhere) <= number < 65536:
        raise Failure(f'"{address}" is no address of a member: write HOST:PORT, such as 10.0.0.2:7444')
    if not everywhere and host in {"0.0.0.0", "[::]"}:
        raise Failure(f'"{address}" is everywhere and nowhere: write the address by which the others reach the member')
    return address


def _is_host(text: str) -> bool:
    """Whether this is a name, an IPv4 address, or an IPv6 address in brackets."""
    if not (text.startswith("[") and text.endswith("]")):
        return _HOST.fullmatch(text) is not None
    try:
        return ipaddress.ip_address(text[1:-1]).version == 6
    except ValueError:
        return False


def read_members(text: str, own: str) -> Mapping[str, str]:
    """Names and addresses; none for an empty text. `own` must be among them, and each name and address there once.

    Raises Failure.
    """
    members: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, separator, address = part.partition("=")
        if not separator:
            raise Failure(f'"{part}" is no member: write NAME=HOST:PORT, such as n2=10.0.0.2:7444')
        if check_name(name) in members:
            raise Failure(f'the member "{name}" is named twice')
        if check_address(address) in members.values():
            raise Failure(f'the address "{address}" is given to two members')
        members[name] = address
    if members and own not in members:
        raise Failure(
            f'this machine, "{own}", is not among the members {", ".join(members)}: give its name by --node-name'
        )
    return members
