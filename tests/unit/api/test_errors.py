"""The wording of errors: what people and programs recognise from Kubernetes."""

from __future__ import annotations

import pytest

from orchestrator.api import errors
from orchestrator.api.errors import ApiError, FieldError

MESSAGES: list[tuple[ApiError, str]] = [
    (errors.NotFound.of("pods", "web"), 'pods "web" not found'),
    (errors.AlreadyExists.of("deployments.apps", "web"), 'deployments.apps "web" already exists'),
    (
        errors.Conflict.of("pods", "web"),
        'Operation cannot be fulfilled on pods "web": the object has been modified; '
        "please apply your changes to the latest version and try again",
    ),
    (errors.Forbidden.of("pods", "web", "no room"), 'pods "web" is forbidden: no room'),
    (errors.Forbidden.of("pods", "", "no room"), "pods is forbidden: no room"),
    (errors.MethodNotAllowed.of("events", "scale"), 'scale is not supported on resources of kind "events"'),
    (errors.InternalError.of(KeyError("x")), "Internal error occurred: 'x'"),
    (errors.InternalError.of("disk full"), "Internal error occurred: disk full"),
    (
        errors.Invalid.of("Pod", "web", [errors.required("spec.containers[0].image")]),
        'Pod "web" is invalid: spec.containers[0].image: Required value',
    ),
    (
        errors.Invalid.of(
            "Deployment.apps", "web", [errors.invalid("spec.replicas", -1, "must be positive"), errors.required("a.b")]
        ),
        'Deployment.apps "web" is invalid: [spec.replicas: Invalid value: -1: must be positive, a.b: Required value]',
    ),
    (
        errors.Invalid.of("Pod", "web", [errors.required("a"), errors.required("a")]),
        'Pod "web" is invalid: a: Required value',
    ),
]


@pytest.mark.parametrize(("error", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_message(error: ApiError, message: str) -> None:
    assert error.message == message
    assert str(error) == message


FIELD_ERRORS: list[tuple[FieldError, str]] = [
    (errors.required("a", "why"), "a: Required value: why"),
    (errors.invalid("a", "x", "why"), 'a: Invalid value: "x": why'),
    (errors.invalid("a", True, "why"), "a: Invalid value: true: why"),
    (errors.invalid("a", None, "why"), "a: Invalid value: null: why"),
    (errors.invalid("a", {"k": "v"}, "why"), 'a: Invalid value: {"k":"v"}: why'),
    (errors.invalid("a", 'say "é"', "why"), 'a: Invalid value: "say \\"é\\"": why'),
    (errors.duplicate("a", "x"), 'a: Duplicate value: "x"'),
    (errors.not_found("a", "x"), 'a: Not found: "x"'),
    (
        errors.not_supported("a", "X", ["Never", "Always"]),
        'a: Unsupported value: "X": supported values: "Always", "Never"',
    ),
    (errors.forbidden("a", "why"), "a: Forbidden: why"),
    (errors.too_long("a", 63), "a: Too long: may not be more than 63 bytes"),
    (errors.too_many("a", 5, 3), "a: Too many: 5: must have at most 3 items"),
]


@pytest.mark.parametrize(("error", "text"), FIELD_ERRORS, ids=[text for _, text in FIELD_ERRORS])
def test_field_error(error: FieldError, text: str) -> None:
    assert str(error) == text


def test_invalid_names_each_cause() -> None:
    error = errors.Invalid.of("Deployment.apps", "web", [errors.required("a"), errors.duplicate("b", 1)])
    assert (error.details.kind, error.details.group, error.details.name) == ("Deployment", "apps", "web")
    assert [(cause.reason, cause.field, cause.message) for cause in error.details.causes] == [
        ("FieldValueRequired", "a", "Required value"),
        ("FieldValueDuplicate", "b", "Duplicate value: 1"),
    ]


def test_not_found_tells_resource_and_group_apart() -> None:
    details = errors.NotFound.of("deployments.apps", "web").details
    assert (details.kind, details.group, details.name) == ("deployments", "apps", "web")
