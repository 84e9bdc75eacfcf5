"""The scheduler: decides on which node a pending pod runs, and binds it there.

`shape.py` says what matters of a pod, `snapshot.py` what is known of the nodes, `plugins/` which nodes are possible and
which are better, `decide.py` puts these together, `pending.py` says who waits and until when,
`reporting.py` tells people, `scheduler.py` is the shell.
"""

from orchestrator.scheduler.scheduler import Scheduler

__all__ = ["Scheduler"]
