from __future__ import annotations

from moorage.stores.jsonl.works import Undo


def test_assignments_are_taken_back_last_one_first() -> None:
    numbers = {"a": 1, "b": 2}
    undo = Undo()
    undo.set(numbers, "a", 10)
    undo.set(numbers, "a", 20)
    undo.set(numbers, "new", 3)
    undo.remove(numbers, "b")
    undo.remove(numbers, "absent")
    assert numbers == {"a": 20, "new": 3}

    undo.take_back()

    assert numbers == {"a": 1, "b": 2}
