"""The options of the commands that remove sessions; what they do is tested beside their modules."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("delete", ("--soft", "--export", "--yes", "--data")),
        ("undelete", ("--data",)),
        ("prune", ("--older-than", "--keep", "--max-bytes", "--policy", "--dry-run", "--json")),
    ],
)
def test_the_help_names_the_options(moorage, command, options):
    text = moorage(command, "--help").stdout

    assert not [option for option in options if option not in text]


@pytest.mark.parametrize("command", [("delete", "a", "--yes"), ("undelete", "a"), ("prune",)])
def test_where_there_is_no_store_none_is_made(moorage, command):
    assert "there is no directory" in moorage(*command, code=1).stderr
    assert not moorage.data.exists()
