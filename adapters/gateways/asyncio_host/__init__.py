"""Moorage for programs on asyncio: the supervisor lives in a trio thread of its own, and these are
the names of ``moorage.runtime`` for asyncio. docs/embedding.md tells how to live with it."""

from moorage.runtime import WrongProcess

from ..hosting.calls import WaitTooSlow
from .agents import AgentTaskCancelled, asyncio_agent
from .opening import Reader, Supervisor, open_reader, open_supervisor
from .run_context import AsyncioRunContext, current_run, current_session
from .sessions import Run, Session, SessionReader, Subscription

__all__ = [
    "open_supervisor",
    "Supervisor",
    "Session",
    "Run",
    "Subscription",
    "open_reader",
    "Reader",
    "SessionReader",
    "asyncio_agent",
    "AsyncioRunContext",
    "AgentTaskCancelled",
    "current_run",
    "current_session",
    "WaitTooSlow",
    "WrongProcess",
]
