"""What an agent raised: whether that is its own matter, and what is logged of it."""

from __future__ import annotations

import traceback

import trio

TRACEBACK_CHARS_MAX = 16_384
"""Most that is logged of the traceback of an agent that raised: its end."""


def meant_for_all(error: BaseException) -> BaseException | None:
    """What an exception is, or has in its group, that is meant for the whole program. The rest of
    such a group is the agent's matter: trio would make it everybody's."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup((KeyboardInterrupt, trio.Cancelled))
    return error if isinstance(error, (KeyboardInterrupt, trio.Cancelled)) else None


def told_traceback(error: BaseException) -> str:
    """Its traceback as text, of which the end says most."""
    return "".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:]
