from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from moorage.adapters.gateways.data_directory import (
    existing,
    new_or_existing,
    owned,
    platform_directory,
)
from moorage.adapters.gateways.frame import CommandFailed
from moorage.runtime import SessionHeld

READING = (
    ["sessions"],
    ["status", "a"],
    ["events", "a"],
    ["export", "a"],
    ["verify"],
    ["delete", "a", "--yes"],
    ["compact"],
)


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_a_directory_that_is_not_there_is_refused_and_not_made(moorage, command):
    result = moorage(*command, code=1)

    assert f"moorage: there is no directory '{moorage.data}'" in result.stderr
    assert "--data DIR, --store journal:DIR or MOORAGE_DATA" in result.stderr
    assert not moorage.data.exists()


def test_an_empty_directory_and_a_file_hold_no_journal(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(CommandFailed, match="not a directory"):
        existing(tmp_path / "file")
    with pytest.raises(CommandFailed, match="no journal in the empty directory"):
        existing(tmp_path / "empty")


def test_a_directory_of_something_else_is_refused_and_left_alone(moorage):
    moorage.data.mkdir()
    (moorage.data / "photo.jpg").write_bytes(b"jpg")

    for command in READING:
        moorage(*command, code=1)

    assert os.listdir(moorage.data) == ["photo.jpg"]


def test_reading_commands_leave_a_read_only_directory_as_it_is(filled):
    before = {path: path.stat().st_mtime_ns for path in filled.data.rglob("*")}
    modes = {path: path.stat().st_mode for path in [filled.data, *before]}
    for path in modes:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    try:
        for command in READING[:5]:
            filled(*command)
    finally:
        for path, mode in modes.items():
            path.chmod(mode)

    assert before == {path: path.stat().st_mtime_ns for path in filled.data.rglob("*")}


async def test_only_one_owns_a_directory_at_a_time(tmp_path):
    async with owned(new_or_existing(tmp_path / "data"), "import", may_create=True):
        with pytest.raises(SessionHeld, match="moorage import"):
            async with owned(new_or_existing(tmp_path / "data"), "delete"):
                pass


@pytest.mark.parametrize(
    ("platform", "environ", "directory"),
    [
        ("linux", {"XDG_DATA_HOME": "/srv/share"}, "/srv/share/moorage"),
        ("linux", {}, "/users/me/.local/share/moorage"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/users/me/.local/share/moorage"),
        ("darwin", {}, "/users/me/Library/Application Support/moorage"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/moorage"),
        ("win32", {}, "/users/me/AppData/Local/moorage"),
    ],
)
def test_each_platform_has_its_directory_for_data(platform, environ, directory):
    assert Path(directory) == platform_directory({"HOME": "/users/me", **environ}, platform)


def test_without_a_home_in_the_environment_it_is_that_of_the_user():
    assert Path.home() / ".local" / "share" / "moorage" == platform_directory({}, "linux")
