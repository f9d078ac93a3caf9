"""Marks: labels, checkpoints and forks of a conversation, whatever branch they are on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .events import Event


@attrs.frozen
class Label:
    """A bookmark: a name for a ``seq``. ``time_ns`` is when it was put there."""

    label: str
    seq: int
    description: str | None
    time_ns: int


@attrs.frozen
class Checkpoint:
    """A point to restore: ``checksum`` is over the messages that led to ``seq``."""

    checkpoint_id: str
    seq: int
    checksum: str
    metadata: dict[str, Any] | None
    label: str | None
    time_ns: int


class Marks:
    """Labels by name, checkpoints by id, and forks as (session id, seq), oldest first."""

    def __init__(self) -> None:
        self.labels: dict[str, Label] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.forks: list[tuple[str, int]] = []

    def apply(self, event: Event) -> None:
        """Fold one event of MARK_FOLDS in; data of another shape changes nothing."""
        MARK_FOLDS[event.type](self, event)

    def state(self) -> list[Any]:
        """All of it as plain data."""
        return [
            [list(attrs.astuple(label)) for label in self.labels.values()],
            [list(attrs.astuple(point, recurse=False)) for point in self.checkpoints.values()],
            [list(fork) for fork in self.forks],
        ]

    @classmethod
    def from_state(cls, state: list[Any]) -> Marks:
        """The marks of which ``state`` made this."""
        marks = cls()
        labels, checkpoints, forks = state
        marks.labels = {row[0]: Label(*row) for row in labels}
        marks.checkpoints = {row[0]: Checkpoint(*row) for row in checkpoints}
        marks.forks = [(session_id, seq) for session_id, seq in forks]
        return marks

    def _labelled(self, event: Event) -> None:
        label, seq = event.data.get("label"), event.data.get("seq")
        if type(label) is not str:
            return
        self.labels.pop(label, None)  # the one that is put last is listed last
        if type(seq) is int and not event.data.get("removed"):
            description = event.data.get("description")
            self.labels[label] = Label(label, seq, description, event.time_ns)

    def _checkpointed(self, event: Event) -> None:
        data = event.data
        id, seq, checksum = data.get("checkpoint_id"), data.get("seq"), data.get("checksum")
        if type(id) is str and type(seq) is int and type(checksum) is str:
            self.checkpoints[id] = Checkpoint(
                id, seq, checksum, data.get("metadata"), data.get("label"), event.time_ns
            )

    def _forked(self, event: Event) -> None:
        id, seq = event.data.get("session_id"), event.data.get("seq")
        if type(id) is str and type(seq) is int:
            self.forks.append((id, seq))


MARK_FOLDS: Mapping[str, Callable[[Marks, Event], None]] = {
    "session_labelled": Marks._labelled,
    "checkpoint_created": Marks._checkpointed,
    "session_forked": Marks._forked,
}
