from __future__ import annotations

import pytest
from moorage.runtime import MoorageError, errors
from moorage.runtime.session_errors import (
    CheckpointMismatch,
    CursorExpired,
    CursorHeld,
    SessionBusy,
    SessionChanged,
    SessionClosed,
    SessionDeleted,
    SessionExists,
    SessionHeld,
    SessionQuarantined,
    UnknownCheckpoint,
    UnknownSession,
)

EXAMPLES: list[tuple[MoorageError, dict[str, object]]] = [
    (SessionClosed("s"), {"session_id": "s"}),
    (SessionDeleted("s", deleted_at_ns=5), {"session_id": "s", "deleted_at_ns": 5}),
    (SessionChanged("s", expected_seq=4, head_seq=6), {"expected_seq": 4, "head_seq": 6}),
    (
        SessionBusy("s", running=1, queued=2, waiting=3),
        {"session_id": "s", "running": 1, "queued": 2, "waiting": 3},
    ),
    (SessionExists("s"), {"session_id": "s"}),
    (SessionHeld("the store", holder="pid 7"), {"holder": "pid 7"}),
    (SessionQuarantined("s", reason="why"), {"session_id": "s", "reason": "why"}),
    (UnknownSession("s"), {"session_id": "s"}),
    (UnknownCheckpoint("s", "chk_1"), {"session_id": "s", "checkpoint_id": "chk_1"}),
    (
        CheckpointMismatch("s", "chk_1", seq=9, expected="a", found="b"),
        {"checkpoint_id": "chk_1", "seq": 9, "expected": "a", "found": "b"},
    ),
    (CursorExpired("s", after=3, oldest_seq=9), {"after": 3, "oldest_seq": 9}),
    (CursorHeld("s", name="mail"), {"session_id": "s", "name": "mail"}),
]

every_example = pytest.mark.parametrize(
    ("error", "facts"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES]
)


@every_example
def test_the_facts_are_attributes(error: MoorageError, facts: dict[str, object]) -> None:
    assert facts.items() <= vars(error).items()


@every_example
def test_it_is_the_class_that_stands_among_all_errors(
    error: MoorageError, facts: dict[str, object]
) -> None:
    assert getattr(errors, type(error).__name__) is type(error)


def test_what_is_deleted_is_closed_too_and_says_how_it_comes_back() -> None:
    error = SessionDeleted("s", deleted_at_ns=5)

    assert isinstance(error, SessionClosed)
    assert "restore_session()" in str(error)
    assert "reopen()" not in str(error)
