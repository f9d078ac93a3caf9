from __future__ import annotations

import json

import pytest


def seqs(lines):
    return [line["seq"] for line in lines]


def test_events_are_shown_from_any_point(filled):
    assert list(range(1, 9)) == seqs(filled.lines("events", "a", "--json"))
    assert seqs(filled.lines("events", "a", "--format", "jsonl", "--after", "6")) == [7, 8]
    assert seqs(filled.lines("events", "a", "--json", "--last", "1")) == [8]
    assert filled.lines("events", "a", "--json", "--last", "0") == []
    assert list(range(1, 9)) == seqs(filled.lines("events", "a", "--json", "--last", "100"))


def test_events_can_be_narrowed_by_type_and_run(filled):
    lines = filled.lines("events", "a", "--json", "--type", "run_submitted", "--type", "note")
    run_id = lines[0]["run_id"]

    assert [line["type"] for line in lines] == ["run_submitted", "note", "run_submitted"]
    assert seqs(filled.lines("events", "a", "--json", "--run", run_id)) == [2, 3, 4]
    assert seqs(filled.lines("events", "a", "--json", "--run", run_id, "--last", "1")) == [4]


def test_following_a_run_that_has_ended_ends(filled):
    run_id = filled.lines("events", "a", "--json", "--type", "run_submitted")[0]["run_id"]

    assert seqs(filled.lines("events", "a", "--json", "--follow", "--run", run_id)) == [2, 3, 4]


def test_following_ends_with_the_session(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.execute("x")
        await session.close()

    moorage.fill(work)

    assert moorage.lines("events", "a", "--json", "--follow")[-1]["type"] == "session_closed"


def test_what_was_trimmed_is_told_and_asking_for_it_is_refused(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.execute("x")
        await session.trim(before=4)

    moorage.fill(work)

    shown = moorage("events", "a", "--json")

    assert json.loads(shown.stdout.splitlines()[0])["seq"] == 4
    assert "before seq 4 are no longer kept" in shown.stderr
    assert "from seq 4 on" in moorage("events", "a", "--after", "1", code=1).stderr


@pytest.mark.parametrize("options", [["-f"], [], ["--last", "3"], ["--last", "0"]])
def test_what_is_beyond_the_head_is_refused(filled, options):
    result = filled("events", "a", *options, "--after", "9999", code=1)

    assert "--after 9999 is beyond the last event" in result.stderr
    assert "which is 8" in result.stderr
    assert filled.lines("events", "a", *options[:0], "--after", "8") == []


@pytest.mark.parametrize("options", [["-f"], [], ["--last", "3"]])
def test_a_run_that_is_not_there_is_refused(filled, options):
    result = filled("events", "a", *options, "--run", "run_x", code=1)

    assert "run_x" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("options", [["--format", "xml"], ["--after", "-1"], ["--last", "x"]])
def test_impossible_options_are_usage_errors(filled, options):
    filled("events", "a", *options, code=2)


def test_following_beside_a_live_owner_shows_events_as_they_come(moorage, owner, start):
    follower = start(
        "-m", "moorage.adapters.gateways", "--data", str(moorage.data), "events", "live",
        "--follow", "--json", "--type", "note", "--type", "session_closed",
    )  # fmt: skip

    for number in range(20):
        owner.tell(f"note {number}")
        assert f"note {number}" == json.loads(follower.stdout.readline())["data"]["text"]
    owner.tell("close")

    assert json.loads(follower.stdout.readline())["type"] == "session_closed"
    assert follower.communicate() == ("", "")
    assert follower.returncode == 0
    owner.stop()


def test_a_file_of_json_lines_gets_what_it_does_not_have_yet(filled, tmp_path):
    path = tmp_path / "a.jsonl"
    filled("events", "a", "--after", "0", "--run", first_run(filled), "--json", "-o", str(path))

    filled("events", "a", "--json", "--output", str(path))

    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [
        2,
        3,
        4,
        *range(5, 9),
    ]


def first_run(filled):
    return filled.lines("events", "a", "--json", "--type", "run_submitted")[0]["run_id"]


def test_a_file_of_something_else_is_refused(filled, tmp_path):
    path = tmp_path / "letter"
    path.write_text("Dear Ada\n")

    assert "is no file of events" in filled("events", "a", "--json", "-o", str(path), code=1).stderr
    assert path.read_text() == "Dear Ada\n"


def test_what_agents_say_can_be_passed_on_alone(filled):
    assert filled("events", "a", "--format", "text").stdout == "hello\n"
