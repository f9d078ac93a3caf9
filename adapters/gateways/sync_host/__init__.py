"""Moorage for programs without an event loop: Django, Flask, workers, scripts. The supervisor lives
in a trio thread of its own; these are the names of ``moorage.runtime`` for calls that block.
docs/embedding.md tells how to live with it."""

from moorage.runtime import WrongProcess

from ..hosting.calls import WaitTooSlow
from .agents import SyncRunContext, current_run, current_session, sync_agent
from .gunicorn_hooks import GunicornHooks
from .opening import Reader, Supervisor, open_reader, open_supervisor
from .process_supervisor import ProcessSupervisor
from .sessions import Run, Session, SessionReader, Subscription

__all__ = [
    "open_supervisor",
    "Supervisor",
    "ProcessSupervisor",
    "GunicornHooks",
    "Session",
    "Run",
    "Subscription",
    "open_reader",
    "Reader",
    "SessionReader",
    "sync_agent",
    "SyncRunContext",
    "current_run",
    "current_session",
    "WaitTooSlow",
    "WrongProcess",
]
