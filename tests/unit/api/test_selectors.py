"""Selectors: what they match, what they are refused for, and which index they allow."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.errors import BadRequest
from orchestrator.api.kinds import KubeObject
from orchestrator.api.selectors import (
    FieldQuery,
    LabelQuery,
    Operator,
    Requirement,
    from_label_selector,
    from_labels,
)
from orchestrator.api.v1 import Event, LabelSelector, Node, Pod, ReplicaSet, Service

LABELS = {"app": "web", "tier": "front", "size": "10", "empty": "", "in": "notin"}

MATCHES: list[tuple[str, bool]] = [
    ("", True),
    ("  ", True),
    ("app=web", True),
    ("app==web", True),
    (" app = web ", True),
    ("app=db", False),
    ("app!=db", True),
    ("app!=web", False),
    ("absent!=x", True),
    ("absent=", False),
    ("empty=", True),
    ("empty", True),
    ("app", True),
    ("absent", False),
    ("!absent", True),
    ("! absent", True),
    ("!app", False),
    ("app in (db,web)", True),
    ("app in ( db , web )", True),
    ("app in (db)", False),
    ("absent in (db)", False),
    ("app notin (db)", True),
    ("app notin (web)", False),
    ("absent notin (web)", True),
    ("empty in ()", True),
    ("empty in (,x)", True),
    ("in in (notin)", True),
    ("in=notin", True),
    ("size>9", True),
    ("size>10", False),
    ("size<11", True),
    ("size < 10", False),
    ("app>1", False),
    ("absent<1", False),
    ("app=web,tier=front", True),
    ("app=web,tier=back", False),
    ("app in (web,db),!absent,size>1", True),
    ("example.com/role=x", False),
]


@pytest.mark.parametrize(("text", "expected"), MATCHES, ids=[text or "nothing" for text, _ in MATCHES])
def test_label_selector_matches(text: str, expected: bool) -> None:
    query = LabelQuery.parse(text)
    assert query.matches(LABELS) is expected
    assert LabelQuery.parse(str(query)) == query


REFUSED = {
    "a,": "found '', expected: identifier",
    ",a": "found ',', expected: identifier",
    "=a": "found '=', expected: identifier",
    "!": "found '', expected: identifier",
    "a b": "found 'b', expected: in, notin, =, ==, !=, gt, lt",
    "a=b c": "found 'c', expected: ',' or 'end of string'",
    "a=b=c": "found '=', expected: ',' or 'end of string'",
    "a in x": "found 'x', expected: '('",
    "a in (x": "found '', expected: ',' or ')'",
    "a in (x y)": "found 'y', expected: ',' or ')'",
    "a in (x,=)": "found '=', expected: ',', ')' or identifier",
    "a>x": "for 'Gt', 'Lt' operators, the value must be an integer",
    "a>": "for 'Gt', 'Lt' operators, the value must be an integer",
    "a=-b": 'values[0][a]: Invalid value: "-b": a valid label must be an empty string or consist of',
    "-a": 'key: Invalid value: "-a": name part must consist of',
    "a/b/c=d": 'key: Invalid value: "a/b/c": a qualified name must consist of',
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=REFUSED)
def test_label_selector_refused(text: str, expected: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        LabelQuery.parse(text)
    assert refusal.value.message.startswith("unable to parse requirement: ")
    assert expected in refusal.value.message


@given(st.text(alphabet="ab=!<>(), in", max_size=16))
def test_any_text_is_a_label_selector_or_refused(text: str) -> None:
    try:
        query = LabelQuery.parse(text)
    except BadRequest:
        return
    assert LabelQuery.parse(str(query)) == query


KEYS = st.sampled_from(["a", "b", "in", "example.com/c"])
VALUES = st.sampled_from(["", "x", "y", "1", "2"])
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from([Operator.IN, Operator.NOT_IN]), st.frozensets(VALUES, min_size=1)),
    st.builds(Requirement, KEYS, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
    st.builds(
        Requirement,
        KEYS,
        st.sampled_from([Operator.GREATER, Operator.LESS]),
        st.sampled_from(["1", "-2"]).map(lambda value: frozenset({value})),
    ),
)


@given(st.lists(REQUIREMENTS, max_size=4), st.dictionaries(KEYS, VALUES))
def test_the_text_of_a_query_says_all_of_it(requirements: list[Requirement], labels: dict[str, str]) -> None:
    query = LabelQuery(tuple(requirements))
    assert LabelQuery.parse(str(query)) == query
    assert query.matches(labels) == all(each.matches(labels) for each in requirements)


def test_label_selector_of_an_object() -> None:
    selector = LabelSelector(match_labels={"app": "web"})
    selector.match_expressions.add(key="tier", operator="In", values=["front", "back"])
    selector.match_expressions.add(key="old", operator="DoesNotExist")
    query = from_label_selector(selector)
    assert str(query) == "app=web,tier in (back,front),!old"
    assert query.matches({"app": "web", "tier": "back"})
    assert not query.matches({"app": "web", "tier": "back", "old": ""})
    assert from_label_selector(LabelSelector()).matches({"any": "thing"})


def test_a_broken_expression_is_refused() -> None:
    selector = LabelSelector()
    selector.match_expressions.add(key="a", operator="Near", values=["x"])
    with pytest.raises(BadRequest, match="not a valid selector operator"):
        from_label_selector(selector)


def test_an_exact_label_can_be_looked_up() -> None:
    assert LabelQuery.parse("app=web,tier").equals("app") == "web"
    assert LabelQuery.parse("app in (a,b)").equals("app") is None
    assert LabelQuery.parse("app!=web").equals("app") is None
    assert from_labels({"b": "1", "a": "2"}) == LabelQuery.parse("a=2,b=1")


POD = ParseDict(
    {
        "metadata": {"name": "web-1", "namespace": "default"},
        "spec": {"nodeName": "n1", "restartPolicy": "Always", "hostNetwork": True},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    },
    Pod(),
)

FIELDS: list[tuple[KubeObject, str, bool]] = [
    (POD, "", True),
    (POD, "metadata.name=web-1", True),
    (POD, "metadata.name==web-2", False),
    (POD, "metadata.namespace!=kube-system", True),
    (POD, "spec.nodeName=n1,status.phase=Running", True),
    (POD, "spec.nodeName=n1,status.phase!=Running", False),
    (POD, " spec.nodeName = n1 ", True),
    (POD, "spec.hostNetwork=true", True),
    (POD, "spec.schedulerName=", True),
    (POD, "status.podIP=10.0.0.1", True),
    (Node(), "spec.unschedulable=false", True),
    (ReplicaSet(), "status.replicas=0", True),
    (ParseDict({"spec": {"clusterIP": "None"}}, Service()), "spec.clusterIP=None", True),
    (
        ParseDict({"involvedObject": {"kind": "Pod"}, "source": {"component": "x"}, "type": "Normal"}, Event()),
        "involvedObject.kind=Pod,source=x,type!=Warning",
        True,
    ),
    (ParseDict({"reason": "a,b=c\\d"}, Event()), r"reason=a\,b\=c\\d", True),
]


@pytest.mark.parametrize(("obj", "text", "expected"), FIELDS, ids=[text or "nothing" for _, text, _ in FIELDS])
def test_field_selector_matches(obj: KubeObject, text: str, expected: bool) -> None:
    query = FieldQuery.parse(text, type(obj).__name__)
    assert query.matches(obj) is expected
    assert FieldQuery.parse(str(query)) == query


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("spec.foo=1", "Pod", "field label not supported: spec.foo"),
        ("spec.nodeName=n1", "Node", "field label not supported: spec.nodeName"),
        ("status.phase=x", "ConfigMap", "field label not supported: status.phase"),
        ("spec.nodeName", "Pod", "can't understand 'spec.nodeName'"),
        ("spec.nodeName in (a)", "Pod", "can't understand 'spec.nodeName in (a)'"),
        ("=x", "Pod", "can't understand '=x'"),
        ("metadata.name=a=b", "Pod", "must be preceded by"),
        ("metadata.name=a\\b", "Pod", "must be preceded by"),
    ],
)
def test_field_selector_refused(text: str, kind: str, expected: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        FieldQuery.parse(text, kind)
    assert expected in refusal.value.message


def test_an_unsupported_field_is_refused_when_it_is_matched_too() -> None:
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.foo"):
        FieldQuery.parse("spec.foo=1").matches(POD)


def test_an_exact_field_can_be_looked_up() -> None:
    query = FieldQuery.parse("status.phase!=Failed,spec.nodeName=n1")
    assert query.equals("spec.nodeName") == "n1"
    assert query.equals("status.phase") is None
    assert FieldQuery.parse("spec.nodeName=").equals("spec.nodeName") == ""
