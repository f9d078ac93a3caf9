"""What the runs of a session wait for, and the command that answers it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from moorage.adapters.sinks.text import one_line

from .chat.places import resume_command
from .chat.situation import QUESTION_TYPES, Situation
from .remote import Server

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime import SessionReader, SessionStatus

    from .chat.situation import Question
    from .chosen_source import Choice

RUNS_MAX = 20
"""Of so many it is looked up, those that wait before those that run."""
UNKNOWN_AGENT = "SPEC"
"""Stands for the agent of a session that does not say which it has."""
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
    run: str,
    questions: Iterable[Question],
    session_id: str,
    choice: Choice,
    agent: str | None = None,
) -> list[str]:
    """Lines: the run as it is shown, and below it what it waits for."""
    lines = [run]
    for question in questions:
        command = answering(question, session_id, choice, agent)
        lines.append(f"  {asked(question)}: {command}")
        if not isinstance(choice, Server):
            at_server = _at_server(question, session_id)
            lines.append(f"    if a server has the session: moorage {at_server} --url URL")
    return lines


def asked(question: Question) -> str:
    """``asks for approval of rm``, or the name of what is asked."""
    if question.request_id is None:
        return f"asks {one_line(question.name)!r}"
    data = question.data if isinstance(question.data, dict) else {}
    return f"asks for approval of {one_line(str(data.get('tool_name', 'a tool')))}"


def answering(question: Question, session_id: str, choice: Choice, agent: str | None = None) -> str:
    """The command that answers it. A store has nobody to be told, so that the conversation is to
    be gone on with there; ``agent`` is for a session that does not know its own."""
    if isinstance(choice, Server):
        return " ".join(["moorage", _at_server(question, session_id), *choice.arguments])
    command = resume_command(choice, session_id)
    return command if agent is None else f"{command} --agent {shlex.quote(agent)}"


def _at_server(question: Question, session_id: str) -> str:
    if question.request_id is None:
        return f"attach {session_id}"
    return f"approve {session_id} {question.request_id}"
