"""What the runs of a session wait for, and the command that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.adapters.sinks.text import one_line

from .chat.situation import QUESTION_TYPES, Situation
from .remote import Server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime import SessionReader, SessionStatus

    from .chat.situation import Question
    from .sources import Source

RUNS_MAX = 20
"""Of so many it is looked up, those that wait before those that run."""
EVENTS_MAX = 100
"""How many a run's latest questions and answers may be."""


async def questions_of(session: SessionReader, status: SessionStatus) -> dict[str, list[Question]]:
    """What is not answered yet, by run."""
    situation = Situation()
    events = []
    for run_id in (*status.waiting, *status.running)[:RUNS_MAX]:
        events += await session.events(
            before=status.head_seq + 1,
            limit=EVENTS_MAX,
            types=set(QUESTION_TYPES),
            run_id=run_id,
        )
    situation.begin(status, events)
    found: dict[str, list[Question]] = {}
    for question in situation.questions:
        found.setdefault(question.run_id, []).append(question)
    return found


def described(
    run: str, questions: Iterable[Question], session_id: str, source: Source
) -> list[str]:
    """Lines: the run as it is shown, and below it what it waits for."""
    where = " ".join(source.arguments) if isinstance(source, Server) else "--url URL"
    lines = [run]
    for question in questions:
        data = question.data if isinstance(question.data, dict) else {}
        if question.request_id is None:
            asked, command = f"asks {one_line(question.name)!r}", f"attach {session_id}"
        else:
            asked = f"asks for approval of {one_line(str(data.get('tool_name', 'a tool')))}"
            command = f"approve {session_id} {question.request_id}"
        lines += [f"  {asked}: moorage {command} {where}"]
    return lines
