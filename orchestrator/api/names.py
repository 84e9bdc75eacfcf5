"""What names may look like: of objects, labels, ports, environment variables and keys.

Every function takes one value and returns the complaints about it, in Kubernetes' words, none when it is good. The
caller knows the field's path and makes FieldErrors of them. Rules come from RFC 1035 and RFC 1123 where a name ends up
in DNS, otherwise from the Kubernetes API conventions.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

NameRule = Callable[[str], list[str]]

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
PORT_NAME_LENGTH = 15

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

_MATCH_LABEL = re.compile(_LABEL)
_MATCH_SUBDOMAIN = re.compile(_SUBDOMAIN)
_MATCH_LABEL_1035 = re.compile(_LABEL_1035)
_MATCH_QUALIFIED = re.compile(_QUALIFIED)
_MATCH_CONFIG_KEY = re.compile(_CONFIG_KEY)
_MATCH_HTTP_HEADER = re.compile(_HTTP_HEADER)
_MATCH_PERCENT = re.compile("[0-9]{1,9}%")  # no more digits than a number of pods can have
_MATCH_PORT_NAME = re.compile("[-a-z0-9]+")
_MATCH_ENVIRONMENT = re.compile("[ -<>-~]+")  # printable ASCII but "="


def _malformed(rule: str, pattern: str, *examples: str) -> str:
    shown = "or ".join(f"'{example}', " if len(examples) == 1 else f"'{example}',  " for example in examples)
    return f"{rule} (e.g. {shown.rstrip()} regex used for validation is '{pattern}')"


_QUALIFIED_RULE = _malformed(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED,
    "MyName",
    "my.name",
    "123-abc",
)


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def label(value: str) -> list[str]:
    """One part of a DNS name (RFC 1123)."""
    return _long_or_malformed(
        value,
        LABEL_LENGTH,
        _MATCH_LABEL,
        lambda: _malformed(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
            "and must start and end with an alphanumeric character",
            _LABEL,
            "my-name",
            "123-abc",
        ),
    )


def subdomain(value: str) -> list[str]:
    """A DNS name of one or more parts (RFC 1123)."""
    return _long_or_malformed(
        value,
        SUBDOMAIN_LENGTH,
        _MATCH_SUBDOMAIN,
        lambda: _malformed(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character",
            _SUBDOMAIN,
            "example.com",
        ),
    )


def label_1035(value: str) -> list[str]:
    """One part of a DNS name that starts with a letter (RFC 1035): the name of a Service."""
    return _long_or_malformed(
        value,
        LABEL_LENGTH,
        _MATCH_LABEL_1035,
        lambda: _malformed(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
            "start with an alphabetic character, and end with an alphanumeric character",
            _LABEL_1035,
            "my-name",
            "abc-123",
        ),
    )


def generate_name(rule: NameRule) -> NameRule:
    """The rule for metadata.generateName: a name of which only the start is known, so a dash may end it."""

    def check(value: str) -> list[str]:
        return rule(f"{value[:-1]}a" if value.endswith("-") else value)

    return check


def qualified_name(value: str) -> list[str]:
    """A label's key, an annotation's, a resource's, a finalizer's: "name" or "example.com/name"."""
    prefix, slash, name = value.rpartition("/")
    if prefix.count("/"):
        return [
            f"a qualified name {_QUALIFIED_RULE} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        ]
    problems = []
    if slash:
        problems += [f"prefix part {problem}" for problem in (subdomain(prefix) if prefix else ["must be non-empty"])]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name.encode()) > LABEL_LENGTH:
        problems.append(f"name part {_too_long(LABEL_LENGTH)}")
    if not _MATCH_QUALIFIED.fullmatch(name):
        problems.append(f"name part {_QUALIFIED_RULE}")
    return problems


def label_value(value: str) -> list[str]:
    """The value of a label; may be empty."""
    problems = []
    if len(value.encode()) > LABEL_LENGTH:
        problems.append(_too_long(LABEL_LENGTH))
    if value and not _MATCH_QUALIFIED.fullmatch(value):
        problems.append(
            _malformed(
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                "and must start and end with an alphanumeric character",
                _LABEL_VALUE,
                "MyValue",
                "my_value",
                "12345",
            )
        )
    return problems


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret: it becomes a file name."""
    problems = []
    if len(value.encode()) > SUBDOMAIN_LENGTH:
        problems.append(_too_long(SUBDOMAIN_LENGTH))
    if not _MATCH_CONFIG_KEY.fullmatch(value):
        problems.append(
            _malformed(
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                _CONFIG_KEY,
                "key.name",
                "KEY_NAME",
                "key-name",
            )
        )
    if value in {".", ".."}:
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def environment_name(value: str) -> list[str]:
    if not value:
        return ["environment variable name must be non-empty"]
    if not _MATCH_ENVIRONMENT.fullmatch(value):
        return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]
    return []


def port_name(value: str) -> list[str]:
    """The name of a container's port (RFC 6335)."""
    problems = []
    if len(value.encode()) > PORT_NAME_LENGTH:
        problems.append(_too_long(PORT_NAME_LENGTH))
    if not _MATCH_PORT_NAME.fullmatch(value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def http_header(value: str) -> list[str]:
    if _MATCH_HTTP_HEADER.fullmatch(value):
        return []
    rule = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [_malformed(rule, _HTTP_HEADER, "X-Header-Name")]


def percent(value: str) -> list[str]:
    if _MATCH_PERCENT.fullmatch(value):
        return []
    return [
        _malformed("a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%")
    ]


def ip_address(value: str) -> list[str]:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def network(value: str) -> list[str]:
    """An address range: "10.244.0.0/24"."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    return [] if "/" in value else ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


def path_segment(value: str) -> list[str]:
    """A name that is only ever part of a URL's path."""
    if value in {".", ".."}:
        return [f"may not be '{value}'"]
    return [f"may not contain '{character}'" for character in "/%" if character in value]


def _long_or_malformed(value: str, limit: int, pattern: re.Pattern[str], explain: Callable[[], str]) -> list[str]:
    problems = []
    if len(value.encode()) > limit:
        problems.append(_too_long(limit))
    if not pattern.fullmatch(value):
        problems.append(explain())
    return problems
