from __future__ import annotations

import json
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.adapters.agents.session_files import (
    SessionFileInvalid,
    read_messages,
    write_messages,
)
from moorage.runtime.events import same_data
from moorage.runtime.messages import (
    Message,
    message_to_plain,
    text_message,
    tool_call_block,
    tool_result_block,
)

MESSAGES = [
    text_message("system", "be brief\u2028really"),
    Message("user", [{"type": "image", "media_type": "image/png", "data": b"\x00png"}], seq=3),
    Message(
        "assistant",
        [{"type": "thinking", "text": "hm"}, tool_call_block("c1", "look", {"$at": math.inf})],
        seq=5,
        run_id="run_1",
        time_ns=2**62,
        partial=True,
        original={"provider": "p", "content": [{"a": None}]},
    ),
    Message("tool", [tool_result_block("c1", "look", [b"", 1.5, -(2**63), "x"], is_error=True)]),
]


def test_what_was_written_is_read_again_the_same(tmp_path):
    path = tmp_path / "talk.jsonl"

    count = write_messages(path, MESSAGES)

    assert count == 4
    assert read_messages(path).messages == MESSAGES
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_line_has_a_role_and_content_at_the_top(tmp_path):
    path = tmp_path / "talk.jsonl"

    write_messages(path, MESSAGES)

    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [list(row)[:2] for row in rows] == [["role", "content"]] * 4
    assert rows[0] == {"role": "system", "content": "be brief\u2028really"}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=30)
@given(st.lists(plain, max_size=3))
def test_any_output_survives_the_way_out_and_in(tmp_path_factory, outputs):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    messages = [Message("tool", [tool_result_block("c", "t", output)]) for output in outputs]

    write_messages(path, [text_message("user", "q"), *messages])

    read = read_messages(path).messages[1:]
    assert same_data([message_to_plain(m) for m in read], [message_to_plain(m) for m in messages])


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "talk.jsonl"
    write_messages(path, MESSAGES[:1])

    def failing():
        yield MESSAGES[1]
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_messages(path, failing())

    assert read_messages(path).messages == MESSAGES[:1]
    assert os.listdir(tmp_path) == ["talk.jsonl"]


def test_files_of_other_programs_in_this_shape_are_read(write):
    path = write(
        {"role": "user", "content": "q", "name": "Ada"}, {"role": "assistant", "content": ""}
    )

    assert [message.text for message in read_messages(path).messages] == ["q", ""]


@pytest.mark.parametrize(
    "bad",
    [
        {"role": "cat", "content": "miaow"},
        {"role": "user"},
        {"role": "user", "content": [{"type": "video"}]},
        {"role": "user", "content": "q", "seq": "one"},
        {"role": "user", "content": {"$bytes": "!"}},
    ],
)
def test_a_line_that_is_no_message_is_refused_by_number(write, bad):
    with pytest.raises(SessionFileInvalid, match="line 2"):
        read_messages(write({"role": "user", "content": "q"}, bad))


def test_a_torn_last_line_is_cut_and_reported(write):
    read = read_messages(write({"role": "user", "content": "q"}, '{"role": "us', end=""))

    assert [message.text for message in read.messages] == ["q"]
    assert read.torn_line == 2
