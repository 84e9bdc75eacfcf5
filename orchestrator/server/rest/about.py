"""What the server says of itself to anybody: its version, and whether it is well.

`/livez` (and the older `/healthz`) tells whether the process should go on, `/readyz` whether it can serve; both name
their checks with `?verbose`, leave out those that `?exclude=` names, and have each under a path of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

Check = Callable[[], str]
"""Says what is wrong; nothing, when all is well."""

KUBERNETES: Final = ("1", "34")
"""The version of the Kubernetes API that is served; clients choose by it what they may ask for."""
_PLAIN: Final = "text/plain"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Told:
    text: str
    status: int = 200
    content_type: str = _PLAIN


class About:
    """The pages that need no identity. `live` and `ready` are checks by name, in the order they are told."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._pages = {"healthz": live, "livez": live, "readyz": ready}

    def answer(self, path: str, query: Mapping[str, str]) -> Told | None:
        """The page at this path; None: it is not one of these."""
        head, _, name = path.strip("/").partition("/")
        if head == "version" and not name:
            return Told(json.dumps(version_info(), indent=2), content_type=_JSON)
        checks = self._pages.get(head)
        if checks is None:
            return None
        if name:
            if name not in checks:
                return Told(f"there is no check {name}", 404)
            checks = {name: checks[name]}
        excluded = set(query.get("exclude", "").split(","))
        results = [(each, check()) for each, check in checks.items() if each not in excluded]
        return _told(head, results, verbose="verbose" in query)


@cache
def version_info() -> Mapping[str, str]:
    """What /version says: the API's version for clients, and ours behind the plus sign for people."""
    major, minor = KUBERNETES
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.0+navarch.{importlib.metadata.version('navarch')}",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": f"CPython {platform.python_version()}",
        "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
    }


def _told(page: str, results: Sequence[tuple[str, str]], *, verbose: bool) -> Told:
    failed = [name for name, wrong in results if wrong]
    if not failed and not verbose:
        return Told("ok")
    lines = [f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok" for name, wrong in results]
    lines.append(f"{page} check {'failed' if failed else 'passed'}\n")
    return Told("\n".join(lines), 500 if failed else 200)


_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
