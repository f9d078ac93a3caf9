"""Steers: messages for a run on its way, as what a program is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import input_messages

from .text_prompts import TextPrompt, text_prompt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from moorage.runtime.agents import RunContext, Steer

    from .run_report import RunReport


@attrs.frozen
class ReadSteer:
    """A steer that can be given to a program: ``content`` is what its message_sent tells."""

    id: str
    content: Any
    prompt: TextPrompt

    def sent(self) -> tuple[str, dict[str, Any]]:
        """Type and data of the event that it is once the model gets it."""
        return "message_sent", {"role": "user", "content": self.content, "steer_id": self.id}


class RepeatedSteers:
    """The steers of one run, for a program that repeats a message when the model gets it.

    ``waiting`` are those that the program was given and has not repeated. After ``end`` no more
    are taken: they become runs of their own.
    """

    def __init__(self, context: RunContext, report: RunReport) -> None:
        self.waiting: list[ReadSteer] = []
        self._context = context
        self._report = report
        self._ended = False

    def end(self) -> None:
        """The program takes nothing more."""
        self._ended = True

    async def give(self, send: Callable[[ReadSteer], Awaitable[object]]) -> None:
        """Give steers to the program by ``send`` as they come."""
        while True:
            await self._context.wait_steer()
            if self._ended:
                return
            # all of them are waiting before anything is awaited, or the run might end in between
            read = [(taken, _read(taken)) for taken in self._context.take_steers()]
            steers = [steer for _, steer in read if isinstance(steer, ReadSteer)]
            self.waiting += steers
            for taken, error in read:
                if isinstance(error, InvalidArgument):
                    await _tell_unreadable(taken, error, self._report)
            for steer in steers:
                await send(steer)

    async def repeated(self, text: str) -> None:
        """The program has repeated ``text``, which may be a steer."""
        for steer in self.waiting:
            if steer.prompt.text == text:
                self.waiting.remove(steer)
                await self._report.emit(*steer.sent())
                return


async def read_steer(steer: Steer, report: RunReport) -> ReadSteer | None:
    """The steer as a prompt; None, told as ``error_occurred``, if nobody can read it."""
    read = _read(steer)
    if isinstance(read, ReadSteer):
        return read
    await _tell_unreadable(steer, read, report)
    return None


async def tell_undelivered(steers: Iterable[ReadSteer], report: RunReport) -> None:
    """Tell of steers that the program accepted and never gave to the model."""
    for steer in steers:
        message = f"{report.provider} never told that the model got the steer {steer.id}"
        await report.emit("error_occurred", _error("steer_undelivered", "protocol", message))


def _read(steer: Steer) -> ReadSteer | InvalidArgument:
    try:
        said = input_messages(steer.message)
        return ReadSteer(steer.id, said[-1].content, text_prompt((), said))
    except InvalidArgument as error:
        return error


async def _tell_unreadable(steer: Steer, error: InvalidArgument, report: RunReport) -> None:
    message = f"the steer {steer.id} cannot be given to {report.provider}: {error}"
    await report.emit("error_occurred", _error("steer_unreadable", "request", message))


def _error(code: str, category: str, message: str) -> dict[str, Any]:
    return {"code": code, "category": category, "message": message, "retryable": False}
