"""Names: what is accepted, and the words for what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import names
from orchestrator.api.names import NameRule

GOOD: list[tuple[NameRule, list[str]]] = [
    (names.label, ["a", "0", "a-b", "a" * 63, "1-2"]),
    (names.subdomain, ["a", "a.b", "0.1", "a-b.c-d", "a" * 253]),
    (names.label_1035, ["a", "a-b", "a0"]),
    (names.qualified_name, ["a", "A_b.c-D", "example.com/A", "a/" + "b" * 63]),
    (names.label_value, ["", "a", "A_b.c-D", "a" * 63]),
    (names.config_key, ["a", "A.b-c_d", ".hidden", "-", "a..b"]),
    (names.environment_name, ["A", "a.b-c", "1", "with space", "{}"]),
    (names.port_name, ["http", "a-1", "1a", "a" * 15]),
    (names.http_header, ["X-A", "a"]),
    (names.percent, ["0%", "25%", "150%"]),
    (names.ip_address, ["10.0.0.1", "::1", "2001:db8::ffff"]),
    (names.network, ["10.0.0.0/8", "10.0.0.1/24", "fd00::/64"]),
    (names.path_segment, ["a", "a:b", "..."]),
]
BAD: list[tuple[NameRule, list[str]]] = [
    (names.label, ["", "A", "-a", "a-", "a.b", "a_b", "a" * 64, "é", "a\n"]),
    (names.subdomain, ["", "A", ".a", "a.", "a..b", "a" * 254, "a_b", "a\n"]),
    (names.label_1035, ["", "0", "-a", "0a"]),
    (names.qualified_name, ["", "a/b/c", "/a", "a/", "A/b", "-a", "a" * 64, "a b", "a\n"]),
    (names.label_value, ["-", "a b", "a" * 64, "é"]),
    (names.config_key, ["", ".", "..", "..a", "a/b", "a b", "a" * 254]),
    (names.environment_name, ["", "a=b", "é", "a\tb"]),
    (names.port_name, ["", "1", "a" * 16, "a--b", "-a", "a-", "A", "a_b"]),
    (names.http_header, ["", "a b", "a:"]),
    (names.percent, ["", "1", "%", "-1%", "1.5%"]),
    (names.ip_address, ["", "a", "10.0.0", "10.0.0.256", "010.0.0.1", "fe80::1%eth0", "10.0.0.1/8"]),
    (names.network, ["", "10.0.0.1", "10.0.0.0/33", "a/8"]),
    (names.path_segment, [".", "..", "a/b", "a%b"]),
]


def cases(table: list[tuple[NameRule, list[str]]]) -> list[tuple[NameRule, str]]:
    return [(rule, value) for rule, values in table for value in values]


def identify(value: object) -> str:
    return getattr(value, "__name__", None) or repr(value)[:30]


@pytest.mark.parametrize(("rule", "value"), cases(GOOD), ids=identify)
def test_accepted(rule: NameRule, value: str) -> None:
    assert rule(value) == []


@pytest.mark.parametrize(("rule", "value"), cases(BAD), ids=identify)
def test_refused(rule: NameRule, value: str) -> None:
    assert rule(value)


@pytest.mark.parametrize(("port", "good"), [(0, False), (1, True), (65535, True), (65536, False), (-1, False)])
def test_port_numbers(port: int, good: bool) -> None:
    assert (names.port_number(port) == []) is good


WORDS = [
    (
        names.label("A"),
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    ),
    (
        names.subdomain("A"),
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ),
    (names.label("a" * 64), "must be no more than 63 bytes"),
    (names.qualified_name("a/"), "name part must be non-empty"),
    (names.qualified_name("/a"), "prefix part must be non-empty"),
    (names.port_number(0), "must be between 1 and 65535, inclusive"),
    (names.ip_address("x"), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
]


@pytest.mark.parametrize(("problems", "words"), WORDS, ids=[words[:40] for _, words in WORDS])
def test_words(problems: list[str], words: str) -> None:
    assert problems[0] == words


def test_a_generated_name_may_end_in_a_dash() -> None:
    rule = names.generate_name(names.label)
    assert rule("web-") == []
    assert rule("web") == []
    assert rule("Web-")


@given(st.text(max_size=70))
def test_every_rule_takes_any_text(value: str) -> None:
    for rule, _ in GOOD:
        rule(value)
    if not names.label(value):
        assert not names.subdomain(value)
        assert not names.qualified_name(value)
        assert not names.label_value(value)
