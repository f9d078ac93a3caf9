from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["events", "a", "--after", "-1"],
        ["events", "a", "--last", "10001"],
        ["events", "a", "--format", "xml"],
        ["export", "a", "--format", "jsonl"],
        ["import", "file", "--format", "chatgpt"],
    ],
)
def test_what_cannot_be_understood_does_nothing(filled, arguments):
    refused = filled(*arguments, code=2)

    assert refused.stdout == ""


def test_a_file_of_events_is_written_on_and_imported_again(filled, tmp_path):
    file = str(tmp_path / "events.jsonl")
    for _ in range(2):
        filled("events", "a", "--format", "jsonl", "--output", file)

    assert filled("import", file, "--as", "copy").stdout == "copy\n"
    assert filled.json("status", "copy")["head_seq"] >= filled.json("status", "a")["head_seq"]
