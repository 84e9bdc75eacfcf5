"""Log lines: one line each, for people and for machines."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from orchestrator import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves logging as pytest has set it up."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # `force` closes the handlers it replaces: keep pytest's out of its reach.
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def test_text() -> None:
    out = io.StringIO()
    logs.setup("info", "text", out)
    log = logging.getLogger("scheduler")
    log.debug("hidden")
    log.info("bound pod", extra=logs.fields(pod="default/web", node="n1"))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO scheduler bound pod pod=default/web node=n1\n", out.getvalue()
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("two\nlines", r'"two\nlines"'),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (0.1 + 0.2, "0.3"),
        (ValueError("no good"), '"no good"'),
    ],
)
def test_values(value: object, shown: str) -> None:
    out = io.StringIO()
    logs.setup("debug", "text", out)
    logging.getLogger("x").debug("m", extra=logs.fields(key=value))
    assert out.getvalue().endswith(f" DEBUG x m key={shown}\n")


def test_a_message_stays_on_its_line_and_a_traceback_follows() -> None:
    out = io.StringIO()
    logs.setup("info", "text", out)
    try:
        raise RuntimeError("oh no")
    except RuntimeError:
        logging.getLogger("orchestrator.scheduler.cycle").exception("it\nfailed")
    first, *rest = out.getvalue().splitlines()
    assert first.endswith("ERROR scheduler it\\nfailed")
    assert rest[0].startswith("Traceback") and rest[-1] == "RuntimeError: oh no"


def test_json() -> None:
    out = io.StringIO()
    logs.setup("warning", "json", out)
    try:
        raise RuntimeError("oh no")
    except RuntimeError:
        extra = logs.fields(pod="default/web", count=2, message="shadows nothing", path=io)
        logging.getLogger("agents.node").exception("failed", extra=extra)
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert (found["component"], found["level"], found["message"], found["count"]) == ("node", "ERROR", "failed", 2)
    assert found["exception"].endswith("RuntimeError: oh no") and found["pod"] == "default/web"


def test_setting_up_twice_writes_once() -> None:
    out = io.StringIO()
    logs.setup(stream=out)
    logs.setup(stream=out)
    logging.getLogger("x").warning("once")
    assert out.getvalue().count("once") == 1


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="debug, info, warning, error"):
        logs.setup("loud")
    with pytest.raises(ValueError, match='"text" or "json"'):
        logs.setup("info", "xml")  # type: ignore[arg-type]
