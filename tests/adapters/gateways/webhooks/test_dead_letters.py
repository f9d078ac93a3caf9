from __future__ import annotations

import os
import stat

import attrs
import pytest
from moorage.adapters.gateways.webhooks.dead_letters import DeadLetter, DeadLetters


def letters_at(tmp_path):
    return DeadLetters(tmp_path / "dead-letters" / "whk_1.jsonl", lambda: True)


@pytest.fixture
def synced(monkeypatch):
    """Whether what was synced are directories, in turn."""
    seen = []
    real = os.fsync

    def fsync(descriptor):
        seen.append(os.path.realpath(f"/dev/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def letter(number):
    return DeadLetter(
        id=f"msg_{number}",
        session_id="a",
        first_seq=number,
        last_seq=number + 1,
        attempts=3,
        error="answered 500\n",
        time_ns=number,
    )


def test_there_are_none_at_first(tmp_path):
    letters = letters_at(tmp_path)
    letters.clear()

    assert (letters.letters(), letters.remove({"msg_1"})) == ([], 0)


def test_they_are_kept_in_order_in_a_file_of_this_user_alone(tmp_path):
    for number in range(3):
        letters_at(tmp_path).add(letter(number))
    folder = tmp_path / "dead-letters"

    assert letters_at(tmp_path).letters() == [letter(0), letter(1), letter(2)]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "whk_1.jsonl").stat().st_mode) == 0o600


def test_the_same_message_is_kept_once(tmp_path):
    letters = letters_at(tmp_path)
    again = attrs.evolve(letter(1), attempts=9)
    for each in (letter(1), letter(2), again):
        letters.add(each)

    assert letters.letters() == [again, letter(2)]


def test_some_are_forgotten_and_the_others_stay(tmp_path):
    letters = letters_at(tmp_path)
    for number in range(4):
        letters.add(letter(number))

    assert letters.remove({"msg_1", "msg_3", "msg_9"}) == 2
    assert letters.letters() == [letter(0), letter(2)]
    letters.add(letter(5))
    assert letters.letters() == [letter(0), letter(2), letter(5)]
    letters.clear()
    assert letters.letters() == []


def test_what_a_crash_left_unfinished_spoils_nothing(tmp_path):
    letters = letters_at(tmp_path)
    letters.add(letter(0))
    path = tmp_path / "dead-letters" / "whk_1.jsonl"
    with path.open("a") as file:
        file.write('\n{"id": "msg_1", "sess')
    letters.add(letter(2))

    assert letters.letters() == [letter(0), letter(2)]


def test_what_is_written_in_pieces_is_written_whole(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:7]))
    letters = letters_at(tmp_path)
    letters.add(letter(0))

    assert letters.letters() == [letter(0)]


def test_what_cannot_be_written_whole_is_not_kept_and_says_so(tmp_path, monkeypatch):
    letters = letters_at(tmp_path)
    letters.add(letter(0))
    real = os.write
    left = [10]

    def full(descriptor, content):
        content = content[: left[0]]
        left[0] -= len(content)
        return real(descriptor, content) if content else 0

    with monkeypatch.context() as patched, pytest.raises(OSError, match="could be written"):
        patched.setattr(os, "write", full)
        letters.add(letter(1))
    letters.add(letter(2))

    assert letters.letters() == [letter(0), letter(2)]


def test_the_names_of_file_and_folder_are_on_disk_too(tmp_path, synced):
    letters_at(tmp_path).add(letter(0))
    folder = tmp_path.resolve() / "dead-letters"

    assert synced == [str(folder / "whk_1.jsonl"), str(folder), str(folder.parent)]


def test_nothing_is_kept_of_a_webhook_that_is_no_more(tmp_path):
    wanted = True
    letters = DeadLetters(tmp_path / "dead-letters" / "whk_1.jsonl", lambda: wanted)
    assert letters.add(letter(0))
    letters.clear()
    wanted = False

    assert not letters.add(letter(1))
    assert list((tmp_path / "dead-letters").iterdir()) == []
