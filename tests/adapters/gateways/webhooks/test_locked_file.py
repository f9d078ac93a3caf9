from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from moorage.adapters.gateways.webhooks.locked_file import locked, replace, take

HOLDER = """
import os, sys
from pathlib import Path
from moorage.adapters.gateways.webhooks.locked_file import take
print(take(Path(sys.argv[1]), "held") is not None, flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_by_one_until_it_lets_go(tmp_path):
    path = tmp_path / "file"
    held = take(path, "held")

    assert held is not None
    assert take(path, "held") is None
    other_purpose = take(path, "other")
    assert other_purpose is not None
    os.close(held)
    again = take(path, "held")
    assert again is not None
    os.close(again)
    os.close(other_purpose)


def test_a_lock_of_a_process_that_was_killed_is_free(tmp_path):
    path = tmp_path / "file"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert take(path, "held") is None
        process.kill()
    again = take(path, "held")

    assert again is not None
    os.close(again)


def test_a_file_is_replaced_whole_and_private(tmp_path):
    path = tmp_path / "file"
    with locked(path):
        replace(path, "one")
        replace(path, "two")

    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "file.lock"]


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    replace(path, "old")

    with pytest.raises(UnicodeEncodeError):
        replace(path, "\udc80")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), locked(tmp_path / "none" / "file"):
        pass
    with pytest.raises(FileNotFoundError):
        take(tmp_path / "none" / "file", "held")
