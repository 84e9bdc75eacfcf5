"""Label and field selectors: which objects of a list or watch are wanted.

`LabelQuery` understands Kubernetes' whole syntax: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`,
`a>1`, `a<1`, joined by commas, all of which must hold. A negative requirement (`!=`, `notin`) is met by an object
without the label. `FieldQuery` compares a few fields, chosen per kind as in Kubernetes.

A selector is parsed once and matched against many objects; both queries are immutable values. What can't be parsed
raises BadRequest with the place and what was expected there.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

from orchestrator.api import names
from orchestrator.api.errors import BadRequest, FieldError, forbidden, invalid, required

if TYPE_CHECKING:
    from orchestrator.api.kinds import KubeObject
    from orchestrator.api.v1 import LabelSelector


MAX_LENGTH = 65_536
"""Characters of a selector."""
MAX_REQUIREMENTS = 128
"""All of them are compared with every object of a collection, and by a watch with every change."""
_REMEMBERED_LENGTH = 512
"""Only short selectors are kept parsed: those of programs, which ask again and again."""


class Operator(enum.Enum):
    """By the names that LabelSelector and NodeSelector use."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.GREATER | Operator.LESS:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        number = _integer(value) if value is not None else None
        bound = _integer(next(iter(self.values), ""))
        if number is None or bound is None:
            return False
        return number > bound if self.operator is Operator.GREATER else number < bound

    def __str__(self) -> str:
        values = sorted(self.values)
        match self.operator:
            case Operator.IN:
                return f"{self.key}={values[0]}" if len(values) == 1 else f"{self.key} in ({','.join(values)})"
            case Operator.NOT_IN:
                return f"{self.key}!={values[0]}" if len(values) == 1 else f"{self.key} notin ({','.join(values)})"
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.GREATER:
                return f"{self.key}>{values[0]}"
            case Operator.LESS:
                return f"{self.key}<{values[0]}"


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """All requirements must hold; without any, everything matches. `str()` gives the selector's text back."""

    requirements: tuple[Requirement, ...] = ()

    @staticmethod
    def parse(text: str) -> LabelQuery:
        """Raises BadRequest when the text is no label selector, or one that would cost too much to match."""
        _check_length(text)
        query = _remembered_labels(text) if len(text) <= _REMEMBERED_LENGTH else _parse_labels(text)
        _check_count(query.requirements)
        return query

    @property
    def empty(self) -> bool:
        return not self.requirements

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def equals(self, key: str) -> str | None:
        """The one value that the label must have to match, if the query demands one: lets a reader use an index."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator is Operator.IN and len(requirement.values) == 1:
                return next(iter(requirement.values))
        return None

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


def from_labels(labels: Mapping[str, str]) -> LabelQuery:
    """What a Service's or ReplicationController's plain map of labels selects."""
    return LabelQuery(tuple(Requirement(key, Operator.IN, frozenset({labels[key]})) for key in sorted(labels)))


def from_label_selector(selector: LabelSelector) -> LabelQuery:
    """An empty selector matches everything. (An absent one matches nothing: that is the caller's to see.)

    Raises BadRequest for an expression that validation would have refused.
    """
    requirements = list(from_labels(selector.match_labels).requirements)
    for expression in selector.match_expressions:
        problems = check_requirement("", expression.key, expression.operator, expression.values, _SELECTOR_OPERATORS)
        if problems:
            raise BadRequest("; ".join(str(problem) for problem in problems))
        requirements.append(Requirement(expression.key, Operator(expression.operator), frozenset(expression.values)))
    return LabelQuery(tuple(requirements))


_SELECTOR_OPERATORS = frozenset({Operator.IN, Operator.NOT_IN, Operator.EXISTS, Operator.DOES_NOT_EXIST})


def check_requirement(
    path: str, key: str, operator: str, values: Collection[str], operators: Collection[Operator]
) -> list[FieldError]:
    """The faults of one requirement as it stands in an object, at `path`; also asked by validation."""
    here = f"{path}." if path else ""
    problems = [invalid(f"{here}key", key, fault) for fault in names.qualified_name(key)]
    if operator not in {choice.value for choice in operators}:
        return [*problems, invalid(f"{here}operator", operator, "not a valid selector operator")]
    match Operator(operator):
        case Operator.IN | Operator.NOT_IN if not values:
            problems.append(required(f"{here}values", "must be specified when `operator` is 'In' or 'NotIn'"))
        case Operator.EXISTS | Operator.DOES_NOT_EXIST if values:
            problems.append(
                forbidden(f"{here}values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            )
        case Operator.GREATER | Operator.LESS if len(values) != 1:
            problems.append(required(f"{here}values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
    return problems


# --- the text form of label selectors

_TOKEN = re.compile(r"\s*(?:(?P<symbol>==|!=|[=<>!(),])|(?P<word>[^\s=!<>(),]+))")
_SYMBOLS = {
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}


def _parse_labels(text: str) -> LabelQuery:
    return LabelQuery(tuple(_LabelParser(text).requirements()))


_remembered_labels = lru_cache(maxsize=1024)(_parse_labels)


def _check_length(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise BadRequest(f"a selector may have at most {MAX_LENGTH} characters, this one has {len(text)}")


def _check_count(requirements: Sized) -> None:
    if len(requirements) > MAX_REQUIREMENTS:
        raise BadRequest(
            f"a selector may have at most {MAX_REQUIREMENTS} requirements, this one has {len(requirements)}"
        )


class _LabelParser:
    """Reads one selector from left to right, one token ahead; the empty token is the end of the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [match["symbol"] or match["word"] for match in _TOKEN.finditer(text)]
        self.position = 0

    @property
    def ahead(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.ahead
        self.position += 1
        return token

    def requirements(self) -> Iterator[Requirement]:
        if not self.tokens:
            return
        yield self.requirement()
        while self.ahead:
            if self.take() != ",":
                raise self.unexpected("',' or 'end of string'")
            yield self.requirement()

    def requirement(self) -> Requirement:
        absent = self.ahead == "!"
        if absent:
            self.take()
        key = self.word("identifier")
        if absent or self.ahead in {"", ","}:
            operator = Operator.DOES_NOT_EXIST if absent else Operator.EXISTS
            return self.checked(key, operator, frozenset())
        symbol = self.take()
        if symbol not in _SYMBOLS:
            raise self.unexpected("in, notin, =, ==, !=, gt, lt")
        values = self.set_of_values() if symbol in {"in", "notin"} else self.single_value()
        return self.checked(key, _SYMBOLS[symbol], values)

    def single_value(self) -> frozenset[str]:
        return frozenset({"" if self.ahead in {"", ","} else self.word("identifier")})

    def set_of_values(self) -> frozenset[str]:
        if self.take() != "(":
            raise self.unexpected("'('")
        values = {self.optional_word()}
        while (token := self.take()) != ")":
            if token != ",":
                raise self.unexpected("',' or ')'")
            values.add(self.optional_word())
        return frozenset(values)

    def optional_word(self) -> str:
        """`(a,)` has two values, the second empty."""
        return "" if self.ahead in {",", ")"} else self.word("',', ')' or identifier")

    def word(self, expected: str) -> str:
        token = self.take()
        if not token or token in {"==", "!=", *"=<>!(),"}:
            raise self.unexpected(expected)
        return token

    def checked(self, key: str, operator: Operator, values: frozenset[str]) -> Requirement:
        faults: list[FieldError] = [invalid("key", key, fault) for fault in names.qualified_name(key)]
        for value in sorted(values):
            path = f"values[0][{key}]"
            if operator in {Operator.GREATER, Operator.LESS}:
                if _integer(value) is None:
                    faults.append(invalid(path, value, "for 'Gt', 'Lt' operators, the value must be an integer"))
            else:
                faults += [invalid(path, value, fault) for fault in names.label_value(value)]
        if faults:
            raise BadRequest(f"unable to parse requirement: {faults[0]}")
        return Requirement(key, operator, values)

    def unexpected(self, expected: str) -> BadRequest:
        found = self.tokens[self.position - 1] if self.position <= len(self.tokens) else ""
        return BadRequest(
            f"unable to parse requirement: found '{found}', expected: {expected} (in label selector \"{self.text}\")"
        )


_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and _INTEGER.fullmatch(text) else None


# --- field selectors

_OBJECT_FIELDS = {"metadata.name": "metadata.name", "metadata.namespace": "metadata.namespace"}
# By kind: the field's JSON path as users write it, and where it is in the message.
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Pod": {
        "spec.nodeName": "spec.node_name",
        "spec.restartPolicy": "spec.restart_policy",
        "spec.schedulerName": "spec.scheduler_name",
        "spec.serviceAccountName": "spec.service_account_name",
        "spec.hostNetwork": "spec.host_network",
        "status.phase": "status.phase",
        "status.podIP": "status.pod_ip",
        "status.nominatedNodeName": "status.nominated_node_name",
    },
    "Node": {"spec.unschedulable": "spec.unschedulable"},
    "Namespace": {"status.phase": "status.phase"},
    "Secret": {"type": "type"},
    "ReplicaSet": {"status.replicas": "status.replicas"},
    "ReplicationController": {"status.replicas": "status.replicas"},
    "Job": {"status.successful": "status.succeeded"},
    "CertificateSigningRequest": {"spec.signerName": "spec.signer_name"},
    "Service": {"spec.clusterIP": "spec.cluster_ip", "spec.type": "spec.type"},
    "Event": {
        "involvedObject.kind": "involved_object.kind",
        "involvedObject.namespace": "involved_object.namespace",
        "involvedObject.name": "involved_object.name",
        "involvedObject.uid": "involved_object.uid",
        "involvedObject.apiVersion": "involved_object.api_version",
        "involvedObject.resourceVersion": "involved_object.resource_version",
        "involvedObject.fieldPath": "involved_object.field_path",
        "reason": "reason",
        "type": "type",
        "source": "source.component",
        "reportingComponent": "reporting_component",
        # As events.k8s.io calls them.
        "regarding.kind": "involved_object.kind",
        "regarding.namespace": "involved_object.namespace",
        "regarding.name": "involved_object.name",
        "regarding.uid": "involved_object.uid",
        "regarding.apiVersion": "involved_object.api_version",
        "regarding.resourceVersion": "involved_object.resource_version",
        "regarding.fieldPath": "involved_object.field_path",
        "reportingController": "reporting_component",
    },
}


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One comparison: `path` as users write it, "spec.nodeName"."""

    path: str
    value: str
    negated: bool = False

    def __str__(self) -> str:
        escaped = re.sub(r"([\\,=])", r"\\\1", self.value)
        return f"{self.path}{'!=' if self.negated else '='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldQuery:
    """All comparisons must hold; without any, everything matches. `str()` gives the selector's text back."""

    requirements: tuple[FieldRequirement, ...] = ()

    @staticmethod
    def parse(text: str, kind: str = "") -> FieldQuery:
        """Raises BadRequest when the text is no field selector or, with a kind ("Pod"), asks for a field it lacks."""
        _check_length(text)
        query = _remembered_fields(text) if len(text) <= _REMEMBERED_LENGTH else _parse_fields(text)
        _check_count(query.requirements)
        if kind:
            query.check(kind)
        return query

    @property
    def empty(self) -> bool:
        return not self.requirements

    def check(self, kind: str) -> None:
        """Raises BadRequest when objects of this kind can't be selected by one of the fields."""
        for requirement in self.requirements:
            _getter(kind, requirement.path)

    def matches(self, obj: KubeObject) -> bool:
        kind = type(obj).__name__
        return all(
            (_getter(kind, requirement.path)(obj) == requirement.value) is not requirement.negated
            for requirement in self.requirements
        )

    def equals(self, path: str) -> str | None:
        """The value that the field must have to match, if the query demands one: lets a watch hub use an index."""
        for requirement in self.requirements:
            if requirement.path == path and not requirement.negated:
                return requirement.value
        return None

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


@lru_cache(maxsize=256)
def _getter(kind: str, path: str) -> Callable[[KubeObject], str]:
    attribute = _OBJECT_FIELDS.get(path) or _FIELDS.get(kind, {}).get(path)
    if attribute is None:
        raise BadRequest(f"field label not supported: {path}")
    read = attrgetter(attribute)

    def text(obj: KubeObject) -> str:
        value: str | int | bool = read(obj)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return text


def _parse_fields(text: str) -> FieldQuery:
    return FieldQuery(tuple(_parse_comparison(part, text) for part in _split_terms(text) if part.strip()))


_remembered_fields = lru_cache(maxsize=1024)(_parse_fields)


def _split_terms(text: str) -> Iterable[str]:
    """Commas separate terms, except behind a backslash."""
    return re.findall(r"(?:\\.|[^,\\]|\\\Z)+", text, re.DOTALL)


def _parse_comparison(term: str, text: str) -> FieldRequirement:
    match = re.fullmatch(r"\s*([^=!\s]+)\s*(==|!=|=)(.*)", term, re.DOTALL)
    if match is None:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
    path, operator, value = match.groups()
    value = value.strip()
    if not _ESCAPED.fullmatch(value):
        raise BadRequest(f"invalid field selector: '{term}': in a value, ',', '=' and '\\' must be preceded by a '\\'")
    return FieldRequirement(path, re.sub(r"\\(.)", r"\1", value), negated=operator == "!=")


_ESCAPED = re.compile(r"(?:[^\\,=]|\\[\\,=])*", re.DOTALL)
