from __future__ import annotations

import json
import os


def test_an_export_is_a_heading_and_every_event(filled):
    header, *events = filled.lines("export", "a")

    assert (header["moorage_export"], header["first_seq"], header["last_seq"]) == (1, 1, 8)
    assert filled.json("sessions", "--prefix", "a")[0] == header["session"]
    assert filled.lines("events", "a", "--json") == events


def test_an_export_to_a_file_is_the_same_and_leaves_nothing_else(filled, tmp_path):
    target = tmp_path / "out" / "a.jsonl"
    target.parent.mkdir()
    target.write_text("old")

    result = filled("export", "a", "--output", str(target))

    assert result.stdout == ""
    assert filled("export", "a").stdout == target.read_text()
    assert os.listdir(target.parent) == ["a.jsonl"]


def test_a_failing_export_leaves_no_file(filled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()

    assert "no session 'zzz'" in filled("export", "zzz", "-o", str(out / "z"), code=1).stderr
    assert os.listdir(out) == []
    refused = filled("export", "a", "-o", str(out / "none" / "a"), code=1)
    assert "there is no directory" in refused.stderr


def test_exporting_to_a_directory_is_refused_naming_it(filled, tmp_path):
    out = tmp_path / "out"
    out.mkdir()

    refused = filled("export", "a", "-o", str(out), code=1)

    assert f"{str(out)!r} is a directory: name a file in it" in refused.stderr
    assert os.listdir(out) == []
    assert not list(tmp_path.glob(".out*"))


def test_a_trimmed_session_is_exported_with_the_state_it_had(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.execute("x")
        await session.trim(before=4)

    moorage.fill(work)

    header, *events = moorage.lines("export", "a")

    assert 4 == header["first_seq"] == events[0]["seq"]
    assert header["snapshot"]["seq"] >= 3


def test_a_live_session_is_exported_as_it_is_now(moorage, owner):
    owner.tell("one")
    owner.tell("two")

    header, *events = moorage.lines("export", "live")

    assert events[-1]["data"]["text"] == "two"
    assert header["last_seq"] == events[-1]["seq"]
    owner.tell("three")
    owner.stop()


def test_a_long_session_comes_whole(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.execute("x")

    async def talk(request, context):
        for number in range(2_500):
            await context.emit("message_streamed", {"delta": str(number)})

    moorage.fill(work, talk)

    lines = moorage("export", "a").stdout.splitlines()

    assert list(range(1, 2_505)) == [json.loads(line)["seq"] for line in lines[1:]]
