from __future__ import annotations

import json

import pytest
from moorage.adapters.agents.model_twin import (
    Cut,
    Garbage,
    HttpError,
    Stall,
    Stop,
    Text,
    Thinking,
    ToolUse,
    Usage,
)
from moorage.adapters.agents.model_twin.script_files import read_script, script_of
from moorage.runtime.errors import InvalidArgument


def test_every_part_can_be_written_as_json(tmp_path):
    path = tmp_path / "script.json"
    parts = [
        "Hello",
        {"type": "text", "text": "a", "pieces": 2},
        {"type": "thinking", "text": "b"},
        {"type": "tool_use", "name": "ls", "input": {"path": "."}, "id": "t1"},
        {"type": "usage", "input_tokens": 3},
        {"type": "stop", "reason": "max_tokens"},
        {"type": "stall", "seconds": 2},
        {"type": "cut"},
        {"type": "garbage", "data": "\x00"},
        {"type": "http_error", "status": 429, "retry_after": 1, "body": "<html>"},
    ]
    path.write_text(json.dumps([parts, "one", {"type": "cut"}]))

    assert read_script(path) == [
        [
            "Hello",
            Text("a", pieces=2),
            Thinking("b"),
            ToolUse("ls", {"path": "."}, id="t1"),
            Usage(input_tokens=3),
            Stop("max_tokens"),
            Stall(2),
            Cut(),
            Garbage(b"\x00"),
            HttpError(429, retry_after=1, body=b"<html>"),
        ],
        ["one"],
        [Cut()],
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({}, "a script must be a list"),
        (["a", [3]], "reply 2, part 1 must be a text or a map"),
        ([{"type": "song"}], "one of text, thinking, tool_use"),
        ([{"type": "text"}], "reply 1, part 1: .*text"),
        ([{"type": "text", "text": "a", "size": 1}], r"not \['size'\]"),
        ([{"type": "stall", "seconds": -1}], "reply 1, part 1: seconds must be"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(value, why):
    with pytest.raises(InvalidArgument, match=why):
        script_of(value)


def test_a_file_that_is_no_json_is_told_by_name(tmp_path):
    path = tmp_path / "script.json"
    path.write_text("[")

    with pytest.raises(InvalidArgument, match=r"script\.json is no JSON"):
        read_script(path)
