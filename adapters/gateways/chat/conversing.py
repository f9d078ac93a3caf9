"""A conversation: one person, one agent, one session at a time."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio
from moorage.adapters.sinks import FileSink, SinkFailed, deliver
from moorage.runtime import MoorageError, RunState, SessionState, StoreFailed
from moorage.runtime.events import RUN_TERMINAL_TYPES

from ..frame import note, write_soon
from .asking import settle
from .keyboard import Key
from .places import MODEL_KEY, PERMISSION_KEY
from .screen import DIM, RED, YELLOW
from .situation import QUESTION_TYPES, Phase, Press, Situation
from .slash import LEAVE, perform_command
from .typed import Command, read_typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime import Event, Session, SessionStatus, Supervisor

    from .keyboard import Keyboard
    from .screen import Screen

PROMPT = "you> "
QUESTION_EVENTS = 1_000
"""Of a run that is under way: as far back as is looked for what it asks."""
LOG_SECONDS = 2.0
"""For what was not yet written to a log when the conversation ends."""
LOG_EVENTS = 1_000
CANCEL_REASON = "cancelled with Ctrl-C"
RECALLED_MESSAGES = 6
"""Of a session that is resumed, shown so that the person knows where it was."""


@attrs.frozen(kw_only=True)
class Manners:
    """How the conversation is held. Without a person (``interactive``) nobody is asked. ``log`` is
    the file that all events are written to, too."""

    interactive: bool
    approve_all: bool = False
    log: Path | None = None
    agent: str | None = None
    """One of a server's agents; None lets it choose."""


class Conversation:
    """Between what is typed and what a session does."""

    def __init__(
        self,
        supervisor: Supervisor,
        session: Session,
        *,
        keyboard: Keyboard,
        screen: Screen,
        manners: Manners,
    ) -> None:
        self.supervisor = supervisor
        self.session = session
        self.screen = screen
        self.situation = Situation()
        self.options: dict[str, str] = {}
        self.failures = 0
        """Runs that have not completed."""
        self.keyboard = keyboard
        self.manners = manners
        self._changed = trio.Event()
        self._writing = trio.Lock()
        self._tasks: trio.Nursery | None = None
        self._prompt = ""

    async def hold(self, first: str | None) -> None:
        """Talk until the person leaves; ``first`` is said before anything is typed."""
        waiting = [] if first is None else [first]
        while True:
            next = await self._talk(waiting)
            if next == LEAVE:
                return
            self.session = await self.supervisor.session(next, mode="resume")

    def interrupt(self) -> bool:
        """Ctrl-C. False if it means to leave; otherwise all is done that it takes."""
        press = self.situation.press(trio.current_time())
        self.screen.moved(open=self.manners.interactive)
        if press is Press.LEAVE or self._tasks is None:
            return False
        if press is Press.CANCEL:
            self._tasks.start_soon(self.cancel, self.situation.cancellable())
        else:
            self._tasks.start_soon(self.say, "(Ctrl-C again leaves, and so does /quit)", DIM)
        return True

    # ---- what is shown ----

    async def say(self, text: str, style: str | None = None) -> None:
        """Show a line of the conversation itself."""
        await self.show(lambda: self.screen.line(text, style))

    async def say_refused(self, error: MoorageError) -> None:
        """Show why something was not done."""
        self.failures += 1
        await self.say(str(error), RED)

    async def show(self, make: Callable[[], str]) -> None:
        """Write what ``make`` returns, in the order of the calls, and around a prompt that may
        stand there."""
        async with self._writing:
            text = make()
            if text and self._prompt and self.keyboard.redraws:
                text = f"\r\x1b[K{text}{self._prompt}"
            await write_soon(text)

    # ---- one session ----

    async def _talk(self, waiting: list[str]) -> str:
        status = await self._open()
        next = LEAVE
        async with trio.open_nursery() as self._tasks:
            self._tasks.start_soon(self._follow, status.head_seq)
            if self.manners.log is not None:
                self._tasks.start_soon(self._record, self.manners.log, status.head_seq)
            next = await self._converse(waiting)
            self._tasks.cancel_scope.cancel()
        self._tasks = None
        return next

    async def _open(self) -> SessionStatus:
        """Bring a session to where it can be talked to, and see what is going on in it."""
        session = self.session
        info = await session.info()
        self.options = {
            name: value
            for name, key in (("model", MODEL_KEY), ("permission_mode", PERMISSION_KEY))
            if isinstance(value := info.metadata.get(key), str)
        }
        if info.state is SessionState.CLOSED:
            await session.reopen()
            note(f"session {session.id!r} was closed, and is open again")
        elif info.state is SessionState.PAUSED:
            await session.resume()
            note(f"session {session.id!r} was paused, and goes on")
        status = await session.status()
        self.situation = Situation()
        self.situation.begin(status, await self._questions(status))
        if self.manners.interactive:
            await self._recall(status)
        return status

    async def _questions(self, status: SessionStatus) -> list[Event]:
        events: list[Event] = []
        for run_id in (*status.running, *status.waiting):
            events += await self.session.events(
                before=status.head_seq + 1,
                limit=QUESTION_EVENTS,
                types=set(QUESTION_TYPES),
                run_id=run_id,
            )
        for run_id in status.queued:  # so that its input is shown when it has its turn
            self.screen.show(
                await self.session.events(
                    before=status.head_seq + 1, limit=1, types={"run_submitted"}, run_id=run_id
                )
            )
        return events

    async def _recall(self, status: SessionStatus) -> None:
        """Show where the conversation was, and how its last run ended if that was no good end."""
        head_seq = status.head_seq
        # what is said from here on comes by itself
        messages = [one for one in await self.session.messages() if one.seq <= head_seq]
        latest = messages[-RECALLED_MESSAGES:]
        asked = [index for index, message in enumerate(latest) if message.role == "user"]
        latest = latest[asked[0] if asked else 0 :]
        if len(messages) > len(latest):
            left = len(messages) - len(latest)
            await self.say(f"(/history shows {left} more messages)", DIM)
        await self.show(lambda: self.screen.history(latest))
        ends = await self.session.events(
            before=head_seq + 1, limit=1, types=set(RUN_TERMINAL_TYPES)
        )
        over = not (status.running or status.queued or status.waiting)
        if over and ends and ends[0].type != "run_completed":
            await self.show(lambda: self.screen.show(ends))

    async def _follow(self, after: int) -> None:
        async with self.session.subscribe(after=after) as subscription:
            async for events in subscription.batches():
                for event in events:
                    self.situation.apply(event)
                await self.show(partial(self.screen.show, events))
                self._notice()
        await self.say("(the session was closed)", YELLOW)
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _record(self, log: Path, head_seq: int) -> None:
        """Write what happens into files, beside the conversation: it goes on if that fails."""
        try:
            progress = await deliver(self.session, {"log": FileSink(log)})
            if progress["log"].ended:
                await self.say(f"(nothing more is written to {log}: {progress['log'].ended})", RED)
        except trio.Cancelled:
            # the person leaves; what came last is not written yet
            with trio.move_on_after(LOG_SECONDS, shield=True), suppress(SinkFailed, OSError):
                await self._complete(FileSink(log), head_seq)
            raise

    async def _complete(self, sink: FileSink, after: int) -> None:
        async with sink.opened():
            while events := await self.session.events(after=after, limit=LOG_EVENTS):
                await sink.write(events)
                after = events[-1].seq

    def _notice(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # ---- what is typed ----

    async def _converse(self, waiting: list[str]) -> str:
        while True:
            if waiting:
                next = await self._take_first(waiting.pop(0))
            elif (question := self.situation.question) is not None:
                next = await settle(self, question)
            elif self.situation.phase is Phase.BUSY and not self.manners.interactive:
                await self._changed.wait()
                continue
            else:
                idle = self.situation.phase is Phase.IDLE
                next = await self.heed(await self.read(PROMPT if idle else "", editing=idle))
            if next is not None:
                return next

    async def read(self, prompt: str, *, editing: bool) -> str | Key | None:
        """What is typed next; None once something else is to be done."""
        typed: str | Key | None = None
        focus = self._focus()
        shown = prompt if self.manners.interactive else ""

        async def watch() -> None:
            while self._focus() == focus:
                await self._changed.wait()
            nursery.cancel_scope.cancel()

        if shown:
            await self.show(self.screen.close)
        self._prompt = shown
        try:
            async with trio.open_nursery() as nursery:
                if not editing:
                    nursery.start_soon(watch)
                typed = await self.keyboard.read(shown, editing=editing)
                nursery.cancel_scope.cancel()
        finally:
            self._prompt = ""
            if shown and typed is None:
                self.screen.moved(open=True)
        if self.manners.interactive and typed is not None:
            self.screen.moved(open=typed is Key.END)
        return typed

    def _focus(self) -> object:
        question = self.situation.question
        return self.situation.phase, None if question is None else question.key

    async def heed(self, typed: str | Key | None) -> str | None:
        if typed is Key.END:
            return LEAVE
        if typed is Key.INTERRUPT:
            if not self.interrupt():
                raise KeyboardInterrupt
            return None
        return None if typed is None else await self._take(typed)

    async def _take_first(self, text: str) -> str | None:
        """Do what the command line says, which stands nowhere on the screen."""
        if self.manners.interactive:
            await self.say(f"{PROMPT}{text}")
        return await self._take(text)

    async def _take(self, text: str) -> str | None:
        """Do what a line says. Returns where to go on, if not here."""
        self.situation.typed()
        try:
            typed = read_typed(text)
            if isinstance(typed, Command):
                return await perform_command(self, typed)
            if typed is not None:
                await self._tell(typed.text)
        except StoreFailed:
            raise
        except MoorageError as error:
            await self.say_refused(error)
        return None

    async def _tell(self, text: str) -> None:
        """Give a message to the run on its way, or to a new one."""
        message: Any = {"prompt": text, "options": self.options} if self.options else text
        steerable = self.situation.steerable
        if steerable is not None:
            outcome = await self.session.steer(steerable, message)
            if outcome.steered:
                await self.say("(given to the run on its way)", DIM)
                return
            run_id = outcome.run_id
            await self.say("(queued: it has its turn when this run has ended)", DIM)
        else:
            seen = self.situation.phase is Phase.IDLE
            with self.screen.typed() if seen else nullcontext():
                run = await self.session.submit(message, agent=self.manners.agent)
                run_id = run.id
        while run_id not in self.situation.known:  # or it would seem that nothing is going on
            await self._changed.wait()

    async def cancel(self, run_ids: list[str], reason: str = CANCEL_REASON) -> None:
        for run_id in run_ids:
            try:
                cancelled = await self.session.cancel(run_id, reason=reason)
            except StoreFailed:
                raise
            except MoorageError as error:
                await self.say_refused(error)
            else:
                if cancelled and run_id in self.situation.running:
                    await self.say("(cancelling; Ctrl-C again leaves)", DIM)

    @property
    def failed(self) -> bool:
        """Whether anything that was asked for has not worked."""
        ended = self.situation.ended
        return self.failures > 0 or ended.total() > ended[RunState.COMPLETED.value]
