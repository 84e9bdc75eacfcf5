"""Runs the demo: in a network namespace and a directory of its own, so that nothing of the machine is touched.

Every step goes through `navctl`, as a person would do it, and is checked from outside: by requests, by the runtime, by
the kernel. The first step that fails ends the demo with its reason; whatever happens, everything is removed.
"""

from __future__ import annotations

import secrets
import sys

from cli import machine
from demo.application import Application
from demo.steps import DemoError, Steps
from demo.world import World


def main() -> int:
    if found := machine.obstacles():
        print("demo: can't run here: " + "; ".join(found), file=sys.stderr)
        return 1
    steps = Steps()
    world = World(f"navarch-demo-{secrets.token_hex(3)}")
    try:
        with world:
            Application(world, steps).run()
        steps.check("nothing is left behind", world.remains)
    except DemoError as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    print(f"demo: ok ({steps.seconds:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
