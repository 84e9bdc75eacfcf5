"""Server-side apply: who manages which field of an object, and what an applied configuration makes of it. Pure."""

from __future__ import annotations

from orchestrator.api.apply.managers import Applied, Manager, apply, record_update

__all__ = ["Applied", "Manager", "apply", "record_update"]
