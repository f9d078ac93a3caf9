"""What a run asks: put to the person, or answered as was decided beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime import MoorageError, StoreFailed

from .screen import YELLOW
from .typed import read_verdict

if TYPE_CHECKING:
    from .conversing import Conversation
    from .situation import Question

APPROVAL_PROMPT = "  y, n, or why not: "
ANSWER_PROMPT = "  answer: "
BY = "chat"
NO_TERMINAL = "nobody can be asked: standard input is no terminal (--approve-all would approve)"


async def settle(conversation: Conversation, question: Question) -> str | None:
    """Have a question answered, or done what is typed instead. Returns where to go on, if not
    here; the question may be open still."""
    manners = conversation.manners
    if not manners.interactive or (manners.approve_all and question.is_approval):
        await _answer_alone(conversation, question)
        return None
    conversation.keyboard.forget()
    await conversation.show(lambda: conversation.screen.question(question))
    prompt = APPROVAL_PROMPT if question.is_approval else ANSWER_PROMPT
    while True:
        typed = await conversation.read(prompt, editing=False)
        if not isinstance(typed, str) or typed.startswith("/"):
            return await conversation.heed(typed)
        if typed.strip():
            await _answer(conversation, question, typed)
            return None


async def _answer_alone(conversation: Conversation, question: Question) -> None:
    """Without a person only what was decided beforehand can be answered."""
    if not question.is_approval:
        reason = f"the run asks {question.name!r}, and nobody can be asked"
        conversation.situation.answered(question, accepted=True)
        await conversation.say(reason, YELLOW)
        await conversation.cancel([question.run_id], reason)
    elif conversation.manners.approve_all:
        await _decide(conversation, question, True, None)
    else:
        await _decide(conversation, question, False, NO_TERMINAL)


async def _answer(conversation: Conversation, question: Question, typed: str) -> None:
    """Raises StoreFailed; what else is refused is told, and the question stays open."""
    try:
        verdict = read_verdict(typed) if question.is_approval else None
        if verdict is not None:
            await _decide(conversation, question, verdict.approved, verdict.reason)
        else:
            session = conversation.session
            accepted = await session.answer(question.run_id, question.name, typed.strip())
            await _note(conversation, question, accepted)
    except StoreFailed:
        raise
    except MoorageError as error:
        await conversation.say_refused(error)


async def _decide(
    conversation: Conversation, question: Question, approved: bool, reason: str | None
) -> None:
    session, request_id = conversation.session, question.request_id
    if request_id is None:
        value = {"approved": approved} | ({} if reason is None else {"reason": reason})
        accepted = await session.answer(question.run_id, question.name, value)
    elif approved:
        accepted = await session.approve(request_id, by=BY)
    else:
        accepted = await session.deny(request_id, reason=reason, by=BY)
    await _note(conversation, question, accepted)


async def _note(conversation: Conversation, question: Question, accepted: bool) -> None:
    conversation.situation.answered(question, accepted=accepted)
    if not accepted:
        text = "(not accepted: it was answered before, or its time is over)"
        await conversation.say(text, YELLOW)
