"""Where the defaults that depend on more than one field are known by the type of the message that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
Rule = Callable[[Message], None]

RULES: dict[str, Rule] = {}
"""By the full name of the message: a rule changes one in place."""


def rule(message: type[M]) -> Callable[[Callable[[M], None]], Callable[[M], None]]:
    """Makes a function the rule for messages of one type, wherever they appear."""

    def register(function: Callable[[M], None]) -> Callable[[M], None]:
        RULES[message.DESCRIPTOR.full_name] = cast(Rule, function)
        return function

    return register
