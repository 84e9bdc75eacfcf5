"""What a test needs of the machine, said in one line: missing, the test is skipped with a reason, or with
NAVARCH_REQUIRE=all it fails, so that continuous integration can't pass by skipping."""

from __future__ import annotations

import os
import shutil

import pytest


def require(present: bool, what: str) -> None:
    """Skips (or fails) the calling test unless `present`. `what` completes the sentence "needs ..."."""
    if present:
        return
    if os.environ.get("NAVARCH_REQUIRE") == "all":
        pytest.fail(f"needs {what}, and NAVARCH_REQUIRE=all forbids to skip")
    pytest.skip(f"needs {what}")


def require_root() -> None:
    require(os.geteuid() == 0, "root (namespaces, mounts and nftables)")


def require_program(*names: str) -> None:
    missing = [name for name in names if shutil.which(name) is None]
    require(not missing, f"the programs {', '.join(missing)}")
