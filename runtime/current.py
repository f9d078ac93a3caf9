"""Which run the code that asks belongs to: found from anywhere inside an agent."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from .errors import InvalidArgument

if TYPE_CHECKING:
    from .agents import RunContext, RunSession

run_in_context: ContextVar[RunContext | None] = ContextVar("moorage_run", default=None)
"""Set around each agent's task by the runtime; who calls an agent's function somewhere else, such
as in a thread, sets what that function is given as its context there."""


def current_run() -> RunContext:
    """The context of the run that this code is a part of: what its agent was given.

    It is found in the agent's task, in tasks that it starts, and in threads that run in its
    contextvars (``trio.to_thread`` and ``asyncio.to_thread`` see to that). After the run's end it
    is still found there, and emitting raises RunEnded. Raises InvalidArgument elsewhere.
    """
    context = run_in_context.get()
    if context is None:
        raise InvalidArgument(
            "no run is current here: ask inside of an agent, or in a task or thread that was "
            "started with its contextvars"
        )
    return context


def current_session() -> RunSession:
    """The session of the current run. Raises InvalidArgument where there is none."""
    return current_run().session
