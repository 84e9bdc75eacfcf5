"""Failures in the words a person reads."""

from __future__ import annotations

import pytest

from cli.failure import Failure, describe_failure, reader_has_gone
from orchestrator.api import errors
from orchestrator.kubeconfig import KubeconfigError

ONE = errors.Invalid.of("Deployment.apps", "web", [errors.required("spec.selector")])
TWO = errors.Invalid.of("Pod", "web", [errors.required("a"), errors.invalid("b", -1, "must be positive")])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.NotFound.of("pods", "web"), 'Error from server (NotFound): pods "web" not found'),
        (errors.ServiceUnavailable("no server"), "error: no server"),
        (errors.UnknownKind("no such kind"), "error: no such kind"),
        (ONE, 'The Deployment "web" is invalid: spec.selector: Required value'),
        (TWO, 'The Pod "web" is invalid: \n* a: Required value\n* b: Invalid value: -1: must be positive'),
        (errors.Invalid("odd"), "The request is invalid: odd"),
        (Failure("wrong"), "error: wrong"),
        (KubeconfigError("x: broken"), "error: x: broken"),
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), "error: x.yaml: No such file or directory"),
        (ExceptionGroup("g", [ValueError(), ExceptionGroup("h", [Failure("wrong")])]), "error: wrong"),
        (ValueError("a fault of the program"), None),
        (OSError("without a file"), None),
    ],
)
def test_texts(error: BaseException, text: str | None) -> None:
    assert describe_failure(error) == text


def test_what_was_under_way() -> None:
    doing = 'error when creating "web.yaml:1"'
    error = errors.Conflict("changed")
    assert describe_failure(error, doing) == f"Error from server (Conflict): {doing}: changed"
    assert describe_failure(Failure("web.yaml:1: wrong"), doing) == "error: web.yaml:1: wrong"


def test_closed_pipes() -> None:
    assert reader_has_gone(BrokenPipeError())
    assert reader_has_gone(BaseExceptionGroup("g", [BrokenPipeError(), ExceptionGroup("h", [BrokenPipeError()])]))
    assert not reader_has_gone(ExceptionGroup("g", [BrokenPipeError(), ValueError()]))
    assert not reader_has_gone(OSError())
