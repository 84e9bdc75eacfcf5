"""The build hook: compiles `proto/` into the packages before they are packed or linked.

It runs for wheels, sdists and editable installs alike, so that a checkout, an unpacked sdist and an installed wheel
hold the same generated modules. The work itself is in `compile_proto.py`, which people call by `make proto`.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ProtoBuildHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "proto"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        runpy.run_path(str(root / "tools" / "compile_proto.py"))["compile_protos"](root)
