from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "--state", "open"],
        ["runs", "--since", "yesterday"],
        ["runs", "--until", "soon"],
        ["runs", "--limit", "0"],
        ["runs", "--tag", "x"],
        ["sessions", "--state", "running"],
        ["sessions", "--order", "size"],
        ["search"],
        ["search", "x", "--since", "?"],
    ],
)
def test_what_cannot_be_understood_does_nothing(filled, arguments):
    refused = filled(*arguments, code=2)

    assert refused.stdout == ""


def test_a_moment_that_is_none_names_its_option(filled):
    assert "--since" in filled("usage", "--since", "soon", code=2).stderr


def test_a_grouping_that_is_none_is_refused_with_those_there_are(filled):
    assert "session, agent, model, day" in filled("usage", "--by", "color", code=1).stderr


def test_runs_and_usage_are_those_of_a_time(filled):
    assert len(filled.json("runs", "--since", "1h")) == 2
    assert filled.json("runs", "--until", "1h") == []
    assert filled.json("usage", "--until", "1h")["rows"] == []
    assert len(filled.lines("search", "hello", "--since", "1h", "--json")) >= 1
    assert filled.lines("search", "hello", "--until", "1h", "--json") == []


def test_the_directory_may_stand_in_front_of_the_command(filled, moorage_at, tmp_path):
    elsewhere = moorage_at(tmp_path / "nothing")

    assert len(elsewhere.json("--data", str(filled.data), "runs")) == 2
    assert len(elsewhere.json("runs", "--data", str(filled.data))) == 2
    assert "no directory" in elsewhere("runs", code=1).stderr
