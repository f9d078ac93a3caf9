"""Labels, checkpoints and forks are kept whatever branch they are on."""

from __future__ import annotations

from typing import Any

from moorage.runtime.codec import pack, unpack
from moorage.runtime.events import Event
from moorage.runtime.marks import Checkpoint, Label, Marks


def marks(*events: tuple[str, dict[str, Any]]) -> Marks:
    """The marks of these events, which are one nanosecond apart."""
    folded = Marks()
    for seq, (type, data) in enumerate(events, 1):
        folded.apply(Event("s", seq, 100 + seq, type, None, data))
    return folded


POINT = {"checkpoint_id": "k", "seq": 3, "checksum": "c", "metadata": {"a": 1}, "label": "safe"}


def test_the_last_label_of_a_name_counts() -> None:
    folded = marks(
        ("session_labelled", {"label": "a", "seq": 1}),
        ("session_labelled", {"label": "b", "seq": 2, "description": "two"}),
        ("session_labelled", {"label": "a", "seq": 3}),
    )

    assert list(folded.labels.values()) == [Label("b", 2, "two", 102), Label("a", 3, None, 103)]


def test_a_label_is_taken_away() -> None:
    folded = marks(
        ("session_labelled", {"label": "a", "seq": 1}),
        ("session_labelled", {"label": "a", "seq": 1, "removed": True}),
    )

    assert folded.labels == {}


def test_checkpoints_and_forks_are_kept() -> None:
    folded = marks(
        ("checkpoint_created", POINT), ("session_forked", {"session_id": "child", "seq": 3})
    )

    assert folded.checkpoints == {"k": Checkpoint("k", 3, "c", {"a": 1}, "safe", 101)}
    assert folded.forks == [("child", 3)]


def test_data_of_another_shape_changes_nothing() -> None:
    folded = marks(
        ("session_labelled", {"seq": 1}),
        ("checkpoint_created", {**POINT, "seq": "3"}),
        ("session_forked", {"session_id": "child"}),
    )

    assert folded.state() == Marks().state()


def test_marks_come_back_from_their_state() -> None:
    folded = marks(
        ("session_labelled", {"label": "a", "seq": 1}),
        ("checkpoint_created", POINT),
        ("session_forked", {"session_id": "child", "seq": 3}),
    )

    again = Marks.from_state(unpack(pack(folded.state())))

    assert (again.labels, again.checkpoints) == (folded.labels, folded.checkpoints)
    assert again.forks == folded.forks
