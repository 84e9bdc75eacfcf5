"""The rules that fields of every kind share: numbers in a range, words out of a set, names, ports, amounts.

Each takes the field's path and value and yields the faults, so that a kind's validation is a list of them. Absent
optional fields are the caller's to skip.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api import names
from orchestrator.api.encoding import encode
from orchestrator.api.errors import FieldError, invalid, not_supported, required
from orchestrator.api.names import NameRule
from orchestrator.api.quantity import Quantity, QuantityError, parse_quantity

Faults = Iterator[FieldError]
M = TypeVar("M", bound=Message)

IMMUTABLE = "field is immutable"
LARGEST_ID = 2**31 - 1
PROTOCOLS = ("TCP", "UDP", "SCTP")


def child(path: str, name: str) -> str:
    """The path of a field; at the top there is nothing before it."""
    return f"{path}.{name}" if path else name


def shown(message: Message) -> object:
    """A message as it appears in an error. (Values that may be anything have `plain`.)"""
    return encode(message)


def plain(value: Value) -> object:
    """A number, text or truth value as it appears in an error; of anything larger, only what it is."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return "<list>"
        case "struct_value":
            return "<object>"
    return None


def moment_text(moment: Timestamp) -> str:
    """A time as it appears in an error, even one that RFC 3339 can't express."""
    try:
        return moment.ToJsonString()
    except ValueError:
        return f"{moment.seconds} s after 1970"


def without(message: M, fields: Iterable[str]) -> M:
    """A copy that lacks some fields: what must be equal when those may differ."""
    rest = type(message)()
    rest.CopyFrom(message)
    for field in fields:
        rest.ClearField(field)
    return rest


def given(message: Message, field: str) -> object:
    """The value of an optional field, or None where it is absent."""
    return getattr(message, field) if message.HasField(field) else None


def named(rule: NameRule, path: str, value: str) -> Faults:
    return (invalid(path, value, problem) for problem in rule(value))


def name_required(rule: NameRule, path: str, value: str) -> Faults:
    if value:
        yield from named(rule, path, value)
    else:
        yield required(path)


def not_negative(path: str, value: int) -> Faults:
    if value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")


def positive(path: str, value: int) -> Faults:
    if value <= 0:
        yield invalid(path, value, "must be greater than 0")


def within(path: str, value: int, low: int, high: int) -> Faults:
    if not low <= value <= high:
        yield invalid(path, value, f"must be between {low} and {high}, inclusive")


def port(path: str, value: int) -> Faults:
    return (invalid(path, value, problem) for problem in names.port_number(value))


def one_of(path: str, value: str, choices: Collection[str]) -> Faults:
    """A word out of a set; absent is a fault too."""
    if not value:
        yield required(path)
    elif value not in choices:
        yield not_supported(path, value, choices)


def port_or_name(path: str, value: Value) -> Faults:
    """A port by number, or by the name a container gives it."""
    match value.WhichOneof("kind"):
        case "number_value" if value.number_value.is_integer():
            yield from port(path, int(value.number_value))
        case "string_value":
            yield from named(names.port_name, path, value.string_value)
        case _:
            yield invalid(path, plain(value), "must be a port number or the name of a port")


def quantity(path: str, value: str) -> Faults:
    """An amount that is not negative."""
    try:
        amount = parse_quantity(value)
    except QuantityError as error:
        yield invalid(path, value, str(error))
        return
    if amount.value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")


def amount_of(value: str) -> Quantity | None:
    """The amount, or None when it is malformed (which `quantity` reports)."""
    try:
        return parse_quantity(value)
    except QuantityError:
        return None


def reachable(path: str, address: str) -> Faults:
    """An IP address that means the same machine to everybody."""
    faults = list(named(names.ip_address, path, address))
    yield from faults
    if faults:
        return
    parsed = ipaddress.ip_address(address)
    for unfit, why in (
        (parsed.is_unspecified, f"may not be unspecified ({address})"),
        (parsed.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (parsed.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (parsed.is_multicast, "may not be in the multicast range"),
    ):
        if unfit:
            yield invalid(path, address, why)


def relative_path(path: str, value: str) -> Faults:
    """A path below a directory, which it may not leave."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def domain_prefixed(path: str, value: str) -> Faults:
    """A name that says whose it is: "example.com/name"."""
    domain, slash, name = value.partition("/")
    if not value:
        yield required(path)
    elif not slash or not domain or not name:
        yield invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        yield from named(names.subdomain, path, domain)
        yield from named(names.path_segment, path, name.replace("/", ""))


def above_zero(path: str, value: str) -> Faults:
    """An amount that is more than nothing."""
    amount = amount_of(value)
    if amount is None:
        yield from quantity(path, value)
    elif amount.value <= 0:
        yield invalid(path, value, "must be greater than zero")


def labels(path: str, values: Mapping[str, str]) -> Faults:
    for key in sorted(values):
        yield from named(names.qualified_name, path, key)
        yield from named(names.label_value, path, values[key])


def immutable(path: str, new: object, old: object) -> Faults:
    """Scalars, lists, or messages."""
    if new != old:
        yield invalid(path, shown(new) if isinstance(new, Message) else new, IMMUTABLE)


def repeats(values: Iterable[object]) -> Iterator[int]:
    """Positions of values that have been there before."""
    seen = set()
    for position, value in enumerate(values):
        if value in seen:
            yield position
        seen.add(value)
