"""Running an agent by itself, and looking at what it told."""

from __future__ import annotations

import trio
from moorage.adapters.agents.recording import RecordingContext, execute

SECONDS_MAX = 60.0
"""Nothing here takes a second; a machine that is busy may take its time."""


async def run(agent, context, said="Hello"):
    with trio.fail_after(SECONDS_MAX):
        return await execute(agent, context.request(said), context)


def told(context, *types):
    return [(event.type, event.data) for event in context.events if event.type in types]


def data_of(context, type):
    return [data for _, data in told(context, type)]


def next_context(context, run_id):
    """The context of the session's next run: it has seen what ``context`` has."""
    context.session.record("run_completed", context.run_id, {"output": None})
    after = RecordingContext(run_id=run_id)
    after.events = list(context.events)
    after.session = context.session
    context.session._log = after
    return after
