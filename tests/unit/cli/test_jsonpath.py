"""JSONPath templates: kubectl's documented examples, its corners, and that no text at all breaks them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.jsonpath import JsonPathError, parse, render, select

# The document of Kubernetes' JSONPath reference.
CLUSTER: Any = {
    "kind": "List",
    "items": [
        {
            "kind": "None",
            "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
            "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]},
        },
        {
            "kind": "None",
            "metadata": {"name": "127.0.0.2"},
            "status": {
                "capacity": {"cpu": "8"},
                "addresses": [
                    {"type": "LegacyHostIP", "address": "127.0.0.2"},
                    {"type": "another", "address": "127.0.0.3"},
                ],
            },
        },
    ],
    "users": [
        {"name": "myself", "user": {}},
        {"name": "e2e", "user": {"username": "admin", "password": "secret"}},
    ],
}

DOCUMENTED = [
    ("text", "kind is {.kind}", "kind is List"),
    ("the object itself", "{@.kind}", "List"),
    ("child operator", "{['kind']}", "List"),
    ("child operator after a dollar", "{$.kind}", "List"),
    ("recursive descent", "{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
    ("wildcard", "{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
    ("subscript", "{.users[0].name}", "myself"),
    (
        "union of paths", "{.items[*]['metadata.name', 'status.capacity']}",
        '127.0.0.1 127.0.0.2 {"cpu":"4"} {"cpu":"8"}',
    ),
    ("filter", '{.users[?(@.name=="e2e")].user.password}', "secret"),
    (
        "range", "{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}",
        '[127.0.0.1, {"cpu":"4"}] [127.0.0.2, {"cpu":"8"}] ',
    ),
    ("interpreted text", "{range .items[*]}{.metadata.name}{'\\t'}{end}", "127.0.0.1\t127.0.0.2\t"),
    ("escaped dot", r"{.items[0].metadata.labels.kubernetes\.io/hostname}", "127.0.0.1"),
    ("newline", '{range .items[*]}{.metadata.name}{"\\n"}{end}', "127.0.0.1\n127.0.0.2\n"),
]  # fmt: skip

CORNERS = [
    ("no braces", ".kind", "List"),
    ("no dot", "{kind}", "List"),
    ("nothing but text", "{'only text'}", "only text"),
    ("missing key", "{.nope}", ""),
    ("missing key in some", "{.items[*].metadata.labels}", '{"kubernetes.io/hostname":"127.0.0.1"}'),
    ("index past the end", "{.users[7].name}", ""),
    ("last", "{.users[-1].name}", "e2e"),
    ("last by slice", "{.users[-1:].name}", "e2e"),
    ("slice", "{.users[0:1].name}", "myself"),
    ("slice with steps", "{.users[::2].name}", "myself"),
    ("all by slice", "{.users[:].name}", "myself e2e"),
    ("indexes", "{.users[1,0].name}", "e2e myself"),
    ("key in double quotes", '{.users[1]["name"]}', "e2e"),
    ("key with dots as it is written", "{.items[0].metadata.labels['kubernetes.io/hostname']}", "127.0.0.1"),
    ("key with escaped dots", r"{.items[0].metadata.labels['kubernetes\.io/hostname']}", "127.0.0.1"),
    ("wildcard over a mapping", "{.users[1].user.*}", "admin secret"),
    ("filter by presence", "{.users[?(@.user.username)].name}", "e2e"),
    ("filter by inequality", '{.users[?(@.name!="e2e")].name}', "myself"),
    ("filter in single quotes", "{.users[?(@.name=='e2e')].name}", "e2e"),
    ("filter with blanks", "{.users[?( @.name == 'e2e' )].name}", "e2e"),
    ("filter in a filter", '{.items[?(@.status.addresses[?(@.type=="another")])].metadata.name}', "127.0.0.2"),
    (
        "filter compared with a filter's value",
        '{.items[?(@.status.addresses[?(@.type=="another")].address=="127.0.0.3")].metadata.name}', "127.0.0.2",
    ),
    ("descent after a filter", '{.items[?(@.metadata.name=="127.0.0.2")]..address}', "127.0.0.2 127.0.0.3"),
    ("brackets in a quoted value", '{.users[?(@.name=="]")].name}', ""),
    ("the root inside a range", "{range .users[*]}{$.kind}{end}", "ListList"),
    (
        "range in a range", "{range .items[*]}{range .status.addresses[*]}{.type};{end}|{end}",
        "LegacyHostIP;|LegacyHostIP;another;|",
    ),
    ("braces in text", "{'{'}{.kind}{'}'}", "{List}"),
    ("quotes around everything", "'{.kind}'", "'List'"),
    ("an escaped quote", r"{'it\'s'}", "it's"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "text"), [pytest.param(*case[1:], id=case[0]) for case in DOCUMENTED])
def test_documented_examples(template: str, text: str) -> None:
    assert render(template, CLUSTER) == text


@pytest.mark.parametrize(("template", "text"), [pytest.param(*case[1:], id=case[0]) for case in CORNERS])
def test_corners(template: str, text: str) -> None:
    assert render(template, CLUSTER) == text


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("@.n>2", "c d"), ("@.n>=2", "b c d"), ("@.n<2", "a"), ("@.n<=2", "a b"), ("@.n==2", "b"), ("@.n!=2", "a c d"),
        ("@.n==2.0", "b"), ("@.n>-1", "a b c d"), ("@.yes==true", "a"), ("@.yes==1", ""), ("@.none==null", "b"),
        ('@.text>"m"', "d"), ('@.text<"m"', "c"), ("@.n>'1'", ""), ("2==@.n", "b"), ("@.n==@.m", "c"),
    ],
)  # fmt: skip
def test_comparisons(condition: str, names: str) -> None:
    values: Any = [
        {"name": "a", "n": 1, "yes": True}, {"name": "b", "n": 2, "none": None},
        {"name": "c", "n": 3, "text": "a", "m": 3}, {"name": "d", "n": 4, "text": "z"},
    ]  # fmt: skip
    assert render(f"{{[?({condition})].name}}", values) == names


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{.a", "unclosed action at character 1"),
        ("text {.a} more {", "unclosed action at character 16"),
        ("{.a[}", "unterminated array"),
        ("{.a[x]}", "invalid array index [x]"),
        ("{.a[]}", "invalid array index []"),
        ("{.a[1,]}", "invalid array index [1,]"),
        ("{.a[::0]}", "invalid slice"),
        ("{.a!}", 'unrecognized character "!"'),
        ("{..}", "a name is missing"),
        ("{range .items[*]}{.a}", "{range} without {end}"),
        ("{.a}{end}", "{end} without {range}"),
        ("{.a[?(@.b=x)]}", 'unrecognized character "="'),
        ("{.a[?(@.b==x)]}", "unrecognized operand x"),
        ("{.a[?(@.b=~'x')]}", 'unrecognized character "="'),
        ("{.a[?(@.b==)]}", "unrecognized operand of nothing"),
        ('{"\\q"}', "Invalid"),
        ('{"\\ud800"}', "surrogates not allowed"),
        ("{.a[" + "9" * 5000 + "]}", "Exceeds the limit"),
        ("{.a" + "[?(@.a" * 100 + ")]" * 100 + "}", "too many filters"),
        ("{range .a}" * 100 + "{end}" * 100, "too many ranges"),
    ],
)
def test_templates_that_cannot_be_read(template: str, said: str) -> None:
    with pytest.raises(JsonPathError) as caught:
        parse(template)
    assert said in str(caught.value)


def test_values_and_not_text() -> None:
    assert select("{.users[*].user.username}", CLUSTER) == ["admin"]
    assert select("{.items[*].status.capacity}", CLUSTER) == [{"cpu": "4"}, {"cpu": "8"}]


_PIECES = st.sampled_from(
    ["{", "}", ".", "..", "[", "]", "*", "?(", ")", "@", "$", "'", '"', "\\", ",", ":", "==", "<=", "range ", "end",
     "{end}", "{range .items[*]}", "items", "name", "0", "-1", " ", "\n", "true", "9" * 30, "é", "\ud800"]
)  # fmt: skip


@given(template=st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=25).map("".join)))
def test_any_text_is_read_or_refused(template: str) -> None:
    try:
        shown = render(template, CLUSTER)
    except JsonPathError:
        return
    assert isinstance(shown, str)


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "items"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(
    document=_JSON,
    template=st.sampled_from(
        [
            "{..a}",
            "{.items[*].a}",
            "{.a[0]}",
            "{[-1:]}",
            "{.a[?(@.b>1)]}",
            "{['a.b','b']}",
            "{range ..a}{@}{end}",
            "{@.*}",
        ]
    ),
)
def test_a_template_can_be_applied_to_anything(document: Any, template: str) -> None:
    assert isinstance(render(template, document), str)


@given(document=_JSON)
def test_descending_meets_every_member_once(document: Any) -> None:
    def members(value: Any) -> int:
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        return (isinstance(value, dict) and "a" in value) + sum(map(members, inner))

    assert len(select("{..a}", document)) == members(document)
