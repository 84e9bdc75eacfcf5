"""The printers of kinds beyond the everyday ones, one file a group; loaded when a table of one of them is made."""

from __future__ import annotations

from orchestrator.api.printers import access, batch, networking, policy, storage, workloads
from orchestrator.api.printing import Printers

PRINTERS: Printers = {
    **access.PRINTERS,
    **batch.PRINTERS,
    **networking.PRINTERS,
    **policy.PRINTERS,
    **storage.PRINTERS,
    **workloads.PRINTERS,
}
