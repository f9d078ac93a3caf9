from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.gateways import importing
from moorage.runtime import open_reader
from moorage.stores import JournalStore


@pytest.fixture
def exported(filled, tmp_path):
    """The path of an export of session a."""
    path = tmp_path / "a.jsonl"
    filled("export", "a", "--output", str(path))
    return path


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def renamed(text, old, new):
    lines = [json.loads(line) for line in text.splitlines()]
    lines[0]["session"]["id"] = lines[0]["session"]["id"].replace(old, new)
    for line in lines[1:]:
        line["session_id"] = line["session_id"].replace(old, new)
    return lines


def test_export_import_export_is_identical_apart_from_the_id(filled, exported):
    result = filled("import", str(exported), "--as", "copy")

    assert result.stdout == "copy\n"
    assert lines_of(exported) == renamed(filled("export", "copy").stdout, "copy", "a")


def test_into_another_directory_it_keeps_its_id_byte_for_byte(filled, exported, tmp_path):
    filled("import", str(exported), "--data", str(tmp_path / "other"))

    again = filled("export", "a", "--data", str(tmp_path / "other"))
    assert exported.read_text() == again.stdout


def test_an_imported_session_works_on(filled, exported):
    filled("import", str(exported), "--as", "copy")

    async def work(supervisor):
        session = await supervisor.session("copy", mode="resume")
        again = await session.submit("hello", key="first")  # known by its key
        old = await again.wait()
        new = await session.execute("more")
        return old.output, new.output, [event.seq for event in await session.events()]

    assert ("hello", "more", list(range(1, 12))) == filled.fill(work)


def test_what_was_queued_goes_on_after_the_import(moorage, tmp_path):
    async def queue(supervisor):
        session = await supervisor.session("a")
        await session.pause()
        return (await session.submit("waiting")).id

    run_id = moorage.fill(queue)
    path = tmp_path / "a.jsonl"
    moorage("export", "a", "-o", str(path))

    told = moorage("import", str(path), "--as", "copy").stderr

    async def go_on(supervisor):
        session = await supervisor.session("copy")
        await session.resume()
        return (await session.wait(run_id)).output

    assert "1 runs are unfinished" in told
    assert moorage.fill(go_on) == "waiting"


def test_a_trimmed_session_comes_back_numbered_from_one_and_works_on(moorage, tmp_path):
    async def work(supervisor):
        session = await supervisor.session("a", slots=3, tags={"k": "v"})
        await session.execute("x")
        await session.execute("y")
        await session.trim(before=5)

    moorage.fill(work)
    path = tmp_path / "a.jsonl"
    moorage("export", "a", "-o", str(path))

    told = moorage("import", str(path), "--as", "copy").stderr

    events = moorage.lines("events", "copy", "--json")
    info = moorage.json("sessions", "--prefix", "copy")[0]
    assert "numbered from 1, not from 5" in told
    assert [event["type"] for event in moorage.lines("events", "a", "--json")] == [
        event["type"] for event in events
    ]
    assert events[0]["seq"] == 1
    assert (info["runs"], info["slots"], info["tags"]) == ({"completed": 2}, 3, {"k": "v"})

    async def more(supervisor):
        return (await (await supervisor.session("copy")).execute("z")).output

    assert moorage.fill(more) == "z"


def test_a_deleted_id_goes_on_above_its_last_seq(filled, exported):
    filled("delete", "a", "--yes")

    told = filled("import", str(exported)).stderr

    assert "numbered from 9, not from 1" in told
    assert list(range(9, 17)) == [e["seq"] for e in filled.lines("events", "a", "--json")]
    assert filled.json("sessions", "--prefix", "a")[0]["runs"] == {"completed": 2}


def test_a_session_that_exists_is_not_touched(filled, exported):
    before = filled("export", "a").stdout

    assert "session 'a' exists" in filled("import", str(exported), code=1).stderr
    assert before == filled("export", "a").stdout


def test_an_import_may_come_through_standard_input(filled, exported):
    result = filled("import", "-", "--as", "copy", input=exported.read_bytes())

    assert result.stdout == "copy\n"


def test_a_directory_that_another_process_owns_is_refused(filled, exported, moorage, start):
    async def main():
        store = JournalStore(filled.data)

        async def deliver(session_id, command): ...

        async with store.opened(owner="somebody", deliver=deliver):
            await trio.to_thread.run_sync(
                lambda: refusals.append(filled("import", str(exported), "--as", "b2", code=1))
            )

    refusals = []
    trio.run(main)

    assert "somebody" in refusals[0].stderr


def swap(lines):
    lines[3], lines[4] = lines[4], lines[3]


def change(number, **fields):
    def edit(lines):
        lines[number] = lines[number] | fields

    return edit


def drop(number):
    def edit(lines):
        del lines[number]

    return edit


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (swap, "line 4: expected seq 3 of session 'a', found seq 4"),
        (drop(3), "line 4: expected seq 3"),
        (drop(-1), "ends with seq 7 and its first line promises 8"),
        (change(0, moorage_export="1"), "line 1: this is no export"),
        (change(0, moorage_export=2), "version 2 and this moorage reads up to 1"),
        (change(0, first_seq=5), "expected seq 5"),
        (change(0, last_seq="8"), "are no range"),
        (change(0, session={}), "line 1: it lacks 'id'"),
        (change(0, session={"id": "a\nb"}), "line 1: session id must not contain"),
        (change(2, session_id="b"), "line 3: expected seq 2 of session 'a'"),
        (change(3, seq=2), "line 4: expected seq 3"),
        (change(3, time_ns="soon"), "line 4: time_ns of an event cannot be 'soon'"),
        (change(3, data={"$bytes": "?"}), "line 4"),
        (change(3, data={}), "line 4: run_started cannot follow here"),
        (change(3, type="run_completed"), "line 4: run_completed cannot follow here"),
        (change(1, type="note"), "no session_opened"),
        (change(5, type="\x07"), "line 6: event type must not contain"),
        (change(5, data=5), None),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_its_line_and_nothing_is_written(
    filled, exported, edit, reason
):
    lines = lines_of(exported)
    edit(lines)
    write(exported, lines)

    result = filled("import", str(exported), "--as", "copy", code=0 if reason is None else 1)

    if reason is not None:
        assert reason in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert [info["id"] for info in filled.json("sessions")] == ["b", "a"]


def test_the_second_life_of_an_id_is_exported_and_imported_like_a_first(moorage, tmp_path):
    async def work(supervisor):
        await (await supervisor.session("a")).execute("one")
        await supervisor.delete_session("a")
        await (await supervisor.session("a")).execute("two")

    moorage.fill(work)
    path = tmp_path / "a.jsonl"
    moorage("export", "a", "-o", str(path))
    header = lines_of(path)[0]

    moorage("import", str(path), "--as", "b")

    assert header["first_seq"] > 1
    assert "snapshot" not in header
    expected = [event["type"] for event in moorage.lines("events", "a", "--json")]
    assert expected == [event["type"] for event in moorage.lines("events", "b", "--json")]
    lines = lines_of(path)
    del lines[1]
    lines[0] |= {"first_seq": lines[0]["first_seq"] + 1}
    write(path, lines)
    refused = moorage("import", str(path), "--as", "c", code=1)
    assert "there is no session_opened event, and no usable snapshot" in refused.stderr


@pytest.mark.parametrize("text", ["", "no json\n", "[]\n", "[" * 100_000, "\udcff\n"])
def test_what_is_no_export_at_all_is_refused(filled, tmp_path, text):
    path = tmp_path / "odd"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    assert "line 1" in filled("import", str(path), code=1).stderr


def test_a_file_that_is_not_there_is_refused_and_nothing_is_made(moorage, tmp_path):
    assert "No such file" in moorage("import", str(tmp_path / "none"), code=1).stderr
    assert not moorage.data.exists()


def test_an_import_that_was_killed_half_way_starts_nothing(filled, exported, monkeypatch):
    """Stops like a kill between two appends: nothing is cleaned up."""
    monkeypatch.setattr(importing, "BATCH_EVENTS", 3)
    with exported.open() as file:
        export = importing.check_export(file)

    async def half():
        store = JournalStore(filled.data)

        class Killed(Exception):
            pass

        async def append_once(claim, **more):
            await append(claim, **more)
            raise Killed

        append, store.append = store.append, append_once
        async with importing.owned(store, "import"):
            claim = await store.claim("copy")
            with pytest.raises(Killed), exported.open() as file:
                await importing._write(store, claim, export, importing._events(file), 0)
        async with open_reader(store) as reader:
            return await reader.session("copy").info()

    info = trio.run(half)

    assert (info.state.value, info.head_seq, info.needs_worker) == ("quarantined", 3, False)
    assert "not finished" in info.reason


def test_an_import_that_fails_half_way_leaves_nothing(filled, exported, monkeypatch):
    monkeypatch.setattr(importing, "BATCH_EVENTS", 3)
    original = JournalStore.append
    calls = []

    async def failing(self, claim, **more):
        calls.append(claim)
        if len(calls) == 2:
            raise OSError(28, "no room")
        await original(self, claim, **more)

    monkeypatch.setattr(JournalStore, "append", failing)

    assert "no room" in filled("import", str(exported), "--as", "copy", code=1).stderr
    assert [info["id"] for info in filled.json("sessions")] == ["b", "a"]


def test_a_long_session_is_imported_in_several_batches(moorage, tmp_path):
    async def talk(request, context):
        for number in range(2_500):
            await context.emit("message_streamed", {"delta": str(number)})

    async def work(supervisor):
        await (await supervisor.session("a")).execute("x")

    moorage.fill(work, talk)
    path = tmp_path / "a.jsonl"
    moorage("export", "a", "-o", str(path))

    moorage("import", str(path), "--data", str(tmp_path / "other"))

    assert path.read_text() == moorage("export", "a", "--data", str(tmp_path / "other")).stdout


@pytest.mark.parametrize("format", ["jsonl", "jsonl-compact"])
def test_a_file_of_events_is_imported_identically(filled, tmp_path, format):
    path = tmp_path / "events"
    filled("events", "a", "--format", format, "--output", str(path))

    assert filled("import", str(path), "--data", str(tmp_path / "other")).stdout == "a\n"

    again = filled("export", "a", "--data", str(tmp_path / "other")).stdout
    assert again == filled("export", "a").stdout


@pytest.mark.parametrize("format", ["jsonl", "jsonl-compact"])
def test_a_file_of_events_that_begins_later_is_refused(filled, tmp_path, format):
    path = tmp_path / "events"
    filled("events", "a", "--after", "2", "--format", format, "--output", str(path))

    refused = filled("import", str(path), "--as", "copy", code=1)

    assert "expected seq 1 of session 'a', found seq 3" in refused.stderr


def test_damage_in_a_file_of_events_is_told_with_its_line(filled, tmp_path):
    path = tmp_path / "events"
    filled("events", "a", "--format", "jsonl-compact", "--output", str(path))
    path.write_text(path.read_text().replace('"run_started"', "7", 1))

    refused = filled("import", str(path), "--as", "copy", code=1)

    assert "line 4: type of an event cannot be 7; nothing was imported" in refused.stderr
