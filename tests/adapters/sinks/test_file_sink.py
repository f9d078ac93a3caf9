from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from moorage.adapters.sinks import FileSink, SinkFailed, event_to_json
from moorage.adapters.sinks import file_sink as module
from moorage.runtime import Event, InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path


def events(*seqs: int, session_id: str = "a") -> list[Event]:
    return [Event(session_id, seq, seq, "note", "r1", {"n": seq}) for seq in seqs]


async def put(sink: FileSink, *batches: list[Event]) -> None:
    async with sink.opened():
        for batch in batches:
            await sink.write(batch)


def seqs(path: Path) -> list[int]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        row[0] if type(row) is list else row["seq"] for row in rows if "moorage_events" not in row
    ]


@pytest.mark.parametrize("format", ["jsonl", "jsonl-compact"])
@pytest.mark.parametrize("sync", [True, False])
async def test_each_event_is_in_the_file_once_however_often_it_is_offered(
    tmp_path: Path, format, sync: bool
) -> None:
    path = tmp_path / "a"

    await put(FileSink(path, format=format, sync=sync), events(1, 2), events(2, 3))
    await put(FileSink(path, format=format, sync=sync), events(1, 2, 3), events(3, 4), events(4))

    assert seqs(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("format", ["jsonl", "jsonl-compact"])
@pytest.mark.parametrize("left", [1, 10, 31])
async def test_what_a_crash_left_of_a_line_is_written_again(tmp_path: Path, format, left) -> None:
    path = tmp_path / "a"
    await put(FileSink(path, format=format), events(1, 2))
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    path.write_bytes(whole[: last + left])

    await put(FileSink(path, format=format), events(1, 2))

    assert seqs(path) == [1, 2]
    assert json.loads(path.read_bytes().splitlines()[-1])  # whole, whatever its run is written as


async def test_a_file_of_a_first_line_alone_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    await put(FileSink(path, format="jsonl-compact"), events(1))
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    await put(FileSink(path, format="jsonl-compact"), events(1))

    assert seqs(path) == [1]
    assert path.read_text().count("moorage_events") == 1


async def test_lines_longer_than_a_step_are_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_STEP_BYTES", 7)
    path = tmp_path / "a"
    await put(FileSink(path), events(1), events(2))
    path.write_bytes(path.read_bytes() + b'{"session_id":"a","seq":3')

    await put(FileSink(path), events(2, 3))

    assert seqs(path) == [1, 2, 3]


async def test_the_full_form_is_that_of_an_export(tmp_path: Path) -> None:
    await put(FileSink(tmp_path / "a"), events(1))

    assert json.loads((tmp_path / "a").read_text()) == event_to_json(events(1)[0])


async def test_sessions_have_files_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "FILES_OPEN_MAX", 2)
    sink = FileSink(tmp_path / "{session_id}.jsonl")

    async with sink.opened():
        for seq in (1, 2):
            for name in ("a", "b/../c", "d"):
                await sink.write(events(seq, session_id=name))

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.jsonl",
        "b%2F..%2Fc.jsonl",
        "d.jsonl",
    ]
    assert all(seqs(path) == [1, 2] for path in tmp_path.iterdir())


@pytest.mark.parametrize("before", ["nothing open", "open"])
async def test_another_session_is_refused(tmp_path: Path, before: str) -> None:
    path = tmp_path / "a"
    sink = FileSink(path)
    if before == "nothing open":
        await put(sink, events(1))

    async with sink.opened():
        if before == "open":
            await sink.write(events(1))
        with pytest.raises(SinkFailed, match="has the events of session 'a'"):
            await sink.write(events(1, session_id="b"))

    assert seqs(path) == [1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hello\n", "is no file of events"),
        ('{"session_id":"b","seq":1}\n', "has the events of session 'b'"),
        ('{"moorage_events":1,"session_id":"a"}\n[1]\n', "written as jsonl-compact, not as jsonl"),
        ('{"session_id":"a","seq":1}\nhello\n', "is no file of events"),
    ],
)
async def test_what_is_no_file_of_these_events_stays_as_it_is(tmp_path, content, reason) -> None:
    path = tmp_path / "a"
    path.write_text(content)

    with pytest.raises(SinkFailed, match=reason):
        await put(FileSink(path), events(1))

    assert path.read_text() == content


async def test_a_file_without_line_breaks_is_not_searched_for_ever(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 100)
    monkeypatch.setattr(module, "_STEP_BYTES", 10)
    (tmp_path / "a").write_bytes(b"x" * 1_000)

    with pytest.raises(SinkFailed, match="more than 100 bytes"):
        await put(FileSink(tmp_path / "a"), events(1))


async def test_text_is_written_behind_what_is_there(tmp_path: Path) -> None:
    for seq in (1, 2):
        batch = [Event("a", seq, seq, "message_received", "r1", {"content": f"said {seq}"})]
        await put(FileSink(tmp_path / "a", format="text"), batch)

    assert (tmp_path / "a").read_text() == "said 1\nsaid 2\n"


async def test_a_failed_write_leaves_nothing_of_its_events_behind(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a"
    sink = FileSink(path)
    put_whole = module._OpenFile._put

    def half(self, text: str) -> None:
        put_whole(self, text[: len(text) // 2])
        raise OSError(28, "no space left")

    async with sink.opened():
        await sink.write(events(1))
        monkeypatch.setattr(module._OpenFile, "_put", half)
        with pytest.raises(OSError, match="no space"):
            await sink.write(events(2))
        monkeypatch.undo()
        await sink.write(events(2, 3))

    assert seqs(path) == [1, 2, 3]


def test_an_unknown_format_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="one of compact, verbose"):
        FileSink(tmp_path / "a", format="xml")  # type: ignore[arg-type]
