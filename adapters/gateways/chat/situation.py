"""The situation of a conversation: which runs are under way, and what they wait for. Pure."""

from __future__ import annotations

import enum
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime.events import RUN_TERMINAL_TYPES
from moorage.runtime.runs import APPROVAL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from moorage.runtime import Event, SessionStatus

INTERRUPT_SECONDS = 2.0
"""Two presses of Ctrl-C within this time leave the conversation."""


class Phase(enum.Enum):
    """What the person can do: say something new, talk to a run on its way, or answer it."""

    IDLE = "idle"
    BUSY = "busy"
    ASKING = "asking"


class Press(enum.Enum):
    """What a Ctrl-C does."""

    CANCEL = "cancel"
    WARN = "warn"
    LEAVE = "leave"


@attrs.frozen
class Question:
    """What a run waits for, under the ``name`` that ``session.answer`` takes."""

    run_id: str
    name: str
    data: Any

    @property
    def key(self) -> tuple[str, str]:
        return self.run_id, self.name

    @property
    def request_id(self) -> str | None:
        """What ``session.approve`` and ``deny`` take, if it is a tool's request."""
        if not self.name.startswith(APPROVAL_PREFIX):
            return None
        return f"{self.run_id}:{self.name.removeprefix(APPROVAL_PREFIX)}"

    @property
    def is_approval(self) -> bool:
        """Whether yes or no is what is asked for."""
        return self.request_id is not None or self.name.partition(":")[0] == "approval"


class Situation:
    """Kept up to date by ``apply``, from the status that a session had at its start.

    ``ended`` counts ends of runs by how they ended, without the ``run_``.
    """

    def __init__(self) -> None:
        self.running: dict[str, None] = {}
        self.queued: dict[str, None] = {}
        self.waiting: dict[str, None] = {}
        self.cancelling: set[str] = set()
        self.known: set[str] = set()
        self.ended: Counter[str] = Counter()
        self._questions: dict[tuple[str, str], Question] = {}
        self._answered: set[str] = set()
        """Runs of which the log will say next that they go on."""
        self._pressed_at: float | None = None

    def begin(self, status: SessionStatus, questions: Iterable[Event]) -> None:
        """Start from a status, and the events in which its unfinished runs ask and are answered."""
        self.running = dict.fromkeys(status.running)
        self.queued = dict.fromkeys(status.queued)
        self.waiting = dict.fromkeys(status.waiting)
        self.cancelling = set(status.cancelling)
        self.known = {*self.running, *self.queued, *self.waiting}
        for event in questions:
            if event.run_id in self.known:
                self._ask(event)

    def apply(self, event: Event) -> None:
        """Take in what has happened."""
        run_id = event.run_id
        if run_id is None:
            return
        if event.type in _PLACES:
            self._move(run_id, _PLACES[event.type])
        elif event.type == "run_cancel_requested":
            self.cancelling.add(run_id)
        if event.type in RUN_TERMINAL_TYPES:
            self.cancelling.discard(run_id)
            self.ended[event.type.removeprefix("run_")] += 1
        self._ask(event)

    def _move(self, run_id: str, place: str | None) -> None:
        self.known.add(run_id)
        for name in ("running", "queued", "waiting"):
            runs: dict[str, None] = getattr(self, name)
            runs.pop(run_id, None)
            if name == place:
                runs[run_id] = None

    def _ask(self, event: Event) -> None:
        run_id = event.run_id or ""
        if event.type in QUESTION_TYPES:
            self._answered.discard(run_id)
        if event.type in _PLACES:
            # whoever asked something is gone, or will ask again
            for key in [key for key in self._questions if key[0] == run_id]:
                del self._questions[key]
        elif event.type == "run_answered":
            self._questions.pop((run_id, event.data["name"]), None)
        if event.type in ("run_waiting", "run_asked"):
            question = Question(run_id, event.data["name"], event.data.get("data"))
            self._questions[question.key] = question

    @property
    def question(self) -> Question | None:
        """What has been asked for the longest time."""
        for question in self._questions.values():
            if question.run_id not in self.cancelling:
                return question
        return None

    @property
    def questions(self) -> list[Question]:
        """All that is asked, in order."""
        return list(self._questions.values())

    def answered(self, question: Question, *, accepted: bool) -> None:
        """It is not to be asked again, whatever the log still says; if it was ``accepted`` the
        run goes on."""
        if self._questions.pop(question.key, None) is not None and accepted:
            self._answered.add(question.run_id)

    @property
    def phase(self) -> Phase:
        if self.question is not None:
            return Phase.ASKING
        return Phase.BUSY if self.running or self.queued or self._answered else Phase.IDLE

    @property
    def steerable(self) -> str | None:
        """The run that a message on its way is for: the one that was started last."""
        return next((id for id in reversed(self.running) if id not in self.cancelling), None)

    # ---- Ctrl-C ----

    def press(self, now_seconds: float) -> Press:
        """Ctrl-C is pressed: the first one cancels what is under way, a second one soon after, or
        while that still ends, leaves."""
        recent = self._pressed_at
        self._pressed_at = now_seconds
        if recent is not None and (now_seconds - recent < INTERRUPT_SECONDS or self.cancelling):
            return Press.LEAVE
        return Press.CANCEL if self.cancellable() else Press.WARN

    def typed(self) -> None:
        """Who types on does not mean to leave: the next Ctrl-C is a first one."""
        self._pressed_at = None

    def cancellable(self) -> list[str]:
        """The runs that a Ctrl-C cancels: those that run, else the one that asks."""
        running = [id for id in self.running if id not in self.cancelling]
        if running or self.question is None:
            return running
        return [self.question.run_id]


_PLACES: dict[str, str | None] = {
    "run_submitted": "queued",
    "run_requeued": "queued",
    "run_resumed": "queued",
    "run_started": "running",
    "run_waiting": "waiting",
    **dict.fromkeys(RUN_TERMINAL_TYPES, None),
}
"""Where a run is after an event."""
QUESTION_TYPES = frozenset({*_PLACES, "run_asked", "run_answered"})
"""What ``begin`` has to know of a run that is under way."""
