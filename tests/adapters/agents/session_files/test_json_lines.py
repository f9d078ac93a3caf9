from __future__ import annotations

import pytest
from moorage.adapters.agents.session_files import json_lines
from moorage.adapters.agents.session_files.json_lines import (
    DEPTH_MAX,
    JsonLines,
    SessionFileInvalid,
    as_plain,
    nanoseconds,
)
from moorage.runtime.codec import check_plain, pack


def values(path, **options):
    return [line.value for line in JsonLines(path, **options)]


def test_lines_end_with_a_line_feed_and_nothing_else(write):
    path = write('{"a": "x\u2028y\u2029z\x85"}', '{"b": 1}\r', "", "  ", '{"c": 2}', end="")

    lines = list(JsonLines(path))

    assert [line.value for line in lines] == [{"a": "x\u2028y\u2029z\x85"}, {"b": 1}, {"c": 2}]
    assert [line.number for line in lines] == [1, 2, 5]


@pytest.mark.parametrize("torn", ['{"b": "x', "\0\0\0\0", "{"])
def test_a_torn_last_line_is_cut_and_reported(write, torn):
    lines = JsonLines(write('{"a": 1}', torn, end=""))

    assert [line.value for line in lines] == [{"a": 1}]
    assert lines.torn_line == 2


@pytest.mark.parametrize("bad", ['{"b": "x', "[1]", "7", "null", "[" * 100_000])
def test_damage_in_the_middle_is_refused_with_its_line_or_skipped_and_reported(write, bad):
    path = write('{"a": 1}', bad, '{"c": 2}')

    with pytest.raises(SessionFileInvalid, match=r"line 2: .*skip_damaged") as refused:
        values(path)
    lines = JsonLines(path, skip_damaged=True)

    assert (refused.value.line, refused.value.file) == (2, str(path))
    assert [line.value for line in lines] == [{"a": 1}, {"c": 2}]
    assert lines.damaged_lines == [2]


def test_text_that_is_no_utf_8_is_damage(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"a": "\xe9"}\n')

    with pytest.raises(SessionFileInvalid, match="line 1"):
        values(path)


def test_an_empty_file_and_one_that_is_not_there_are_told_apart(tmp_path):
    (tmp_path / "empty").write_bytes(b"")

    with pytest.raises(SessionFileInvalid, match="the file is empty"):
        values(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        values(tmp_path / "none")


def test_a_line_has_a_limit(write, monkeypatch):
    monkeypatch.setattr(json_lines, "LINE_BYTES_MAX", 100)

    assert values(write({"a": "x" * 90}))
    with pytest.raises(SessionFileInvalid, match="longer than 100 bytes"):
        values(write({"a": "x" * 91}))


def test_lines_of_ten_megabytes_are_read(write):
    (value,) = values(write({"a": "x" * 10_000_000}))

    assert len(value["a"]) == 10_000_000


def test_what_json_can_say_becomes_what_a_log_can_keep():
    deep: object = 1
    for _ in range(DEPTH_MAX + 20):
        deep = [deep]
    value = {"big": 2**64, "small": -(2**63) - 1, "half\ud800": "\ud83dx", "deep": deep, "é": "é"}

    plain = as_plain(value)

    check_plain(plain)
    pack(plain)
    assert plain["big"] == str(2**64)
    assert plain["half?"] == "?x"
    assert plain["é"] == "é"
    assert as_plain({"a": [2**63, 1.5, None, True]}) == {"a": [2**63, 1.5, None, True]}


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T02:00:01+02:00", 1_000_000_000),
        ("1970-01-01T00:00:01", 1_000_000_000),
        ("1960-01-01T00:00:00Z", 0),
        (1_500, 1_500_000_000),
        ("yesterday", 0),
        (None, 0),
        (True, 0),
    ],
)
def test_times_are_nanoseconds_since_1970(time, expected):
    assert nanoseconds(time) == expected
