from __future__ import annotations

import os
import stat

import pytest
from moorage.adapters.sinks.telemetry.append_file import AppendFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def file(path):
    file = AppendFile(str(path))
    yield file
    file.close()
    file.close()


def test_lines_are_behind_those_that_are_there(path, file) -> None:
    path.write_bytes(b"old\n")
    file.append(b"a\nb\n")
    file.append(b"c\n")

    assert path.read_bytes() == b"old\na\nb\nc\n"


def test_a_new_file_is_for_its_owner_alone(path, file) -> None:
    file.append(b"")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_moved_file_is_left_alone_and_a_new_one_begun(path, file) -> None:
    file.append(b"a\n")
    moved = path.rename(path.with_suffix(".1"))
    file.append(b"b\n")
    path.rename(path.with_suffix(".2"))
    path.write_bytes(b"by another\n")
    file.append(b"c\n")

    assert moved.read_bytes() == b"a\n"
    assert path.with_suffix(".2").read_bytes() == b"b\n"
    assert path.read_bytes() == b"by another\nc\n"


def test_what_a_crash_left_of_a_line_is_a_line_of_its_own(path, file) -> None:
    path.write_bytes(b'{"torn":')
    file.append(b"a\n")

    assert path.read_bytes() == b'{"torn":\na\n'


def test_after_a_failed_write_the_next_one_is_a_line_of_its_own(path, file, monkeypatch) -> None:
    real_write = os.write

    def fill_up(file, data) -> int:
        if len(data) <= 3:
            raise OSError(28, "no space left")
        return real_write(file, data[:3])

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(OSError, match="no space"):
        file.append(b"abcde\n")
    monkeypatch.undo()
    file.append(b"next\n")

    assert path.read_bytes() == b"abc\nnext\n"


def test_each_append_is_synced_and_a_new_file_with_its_folder(path, file, monkeypatch) -> None:
    synced = []
    real_sync = os.fsync

    def noting(file) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        real_sync(file)

    monkeypatch.setattr(os, "fsync", noting)
    file.append(b"a\n")
    file.append(b"b\n")

    assert synced == ["folder", "file", "file"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        AppendFile(str(tmp_path / "none" / "audit.jsonl")).append(b"a\n")
