"""What every daemon is made of: queue, plan and reconciler, leader election, supervised services."""

from orchestrator.fatal import Fatal
from orchestrator.runtime.elected import Elected
from orchestrator.runtime.events import EventRecorder
from orchestrator.runtime.leader import LeaderElection
from orchestrator.runtime.plan import Applied, ApplyError, Deletion, EventRecord, Failure, Plan, Unanswered, apply_plan
from orchestrator.runtime.queue import WorkQueue
from orchestrator.runtime.reconciler import Controller, Reconciler
from orchestrator.runtime.service import Service, Supervision, run_services

__all__ = [
    "Applied",
    "ApplyError",
    "Controller",
    "Deletion",
    "Elected",
    "EventRecord",
    "EventRecorder",
    "Failure",
    "Fatal",
    "LeaderElection",
    "Plan",
    "Reconciler",
    "Service",
    "Supervision",
    "Unanswered",
    "WorkQueue",
    "apply_plan",
    "run_services",
]
