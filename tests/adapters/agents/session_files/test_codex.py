from __future__ import annotations

import json

import pytest
from moorage.adapters.agents.session_files import SessionFileInvalid, read_codex
from moorage.adapters.agents.session_files.imported import Summary
from moorage.runtime.messages import tool_call_block, tool_result_block

from tests.runtime.talks import lines

TIME = "1970-01-01T00:00:01.000Z"
META = {"id": "s1", "cwd": "/project", "cli_version": "0.160.0", "timestamp": TIME}

OK = {"type": "input_text", "text": "ok"}


def line(type, /, **payload):
    return {"timestamp": TIME, "type": type, "payload": payload}


def item(type, /, **payload):
    return line("response_item", type=type, **payload)


def said(role, text, kinds=None):
    more = {} if kinds is None else {"content_item_kinds": kinds}
    kind = "output_text" if role == "assistant" else "input_text"
    return item(
        "message",
        role=role,
        content=[{"type": kind, "text": text}],
        internal_chat_message_metadata_passthrough=more,
    )


def call(id, arguments='{"cmd": "ls"}'):
    return item("function_call", name="exec_command", arguments=arguments, call_id=id)


def output(id, output="out"):
    return item("function_call_output", call_id=id, output=output)


def test_a_conversation_with_a_tool_is_read(write):
    path = write(
        line("session_meta", **META),
        said("developer", "<permissions instructions>"),
        said("user", "<environment_context>\n</environment_context>"),
        line("turn_context", cwd="/other", model="gpt"),
        said("user", "list it", ["user.text"]),
        line("event_msg", type="user_message", message="list it"),
        item("reasoning", summary=[{"type": "summary_text", "text": "hm"}], encrypted_content="x"),
        said("assistant", "I list."),
        call("c1"),
        output("c1", "a.txt"),
        said("assistant", "One file."),
        line("token_usage_record", usage={}),
    )

    read = read_codex(path)

    assert lines(read.messages) == [
        "u:list it",
        "a:I list. [hm] c1?",
        "t:c1=a.txt",
        "a:One file.",
    ]
    assert (read.provider, read.session_id) == ("codex", "s1")
    assert read.settings == {"working_directory": "/other", "model": "gpt"}
    assert read.messages[0].time_ns == 1_000_000_000
    assert read.messages[1].tool_calls == [tool_call_block("c1", "exec_command", {"cmd": "ls"})]
    assert read.messages[2].blocks == [tool_result_block("c1", "exec_command", "a.txt")]
    assert read.skipped == {
        "response_item.message": 2,
        "event_msg.user_message": 1,
        "token_usage_record": 1,
    }


def test_calls_that_were_made_at_once_are_one_answer(write):
    path = write(line("session_meta", **META), call("c1"), call("c2"), output("c1"), output("c2"))

    assert lines(read_codex(path).messages) == ["a:c1? c2?", "t:c1=out", "t:c2=out"]


def test_an_older_file_has_items_as_lines(write):
    path = write(
        {"id": "s1", "timestamp": TIME, "instructions": None, "git": {}},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
        {
            "type": "local_shell_call",
            "call_id": "c1",
            "action": {"command": ["ls"]},
            "status": "completed",
        },
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": {"content": "no", "success": False},
        },
    )

    read = read_codex(path)

    assert read.session_id == "s1"
    assert lines(read.messages) == ["u:q", "a:c1?", "t:c1=no!"]
    assert read.messages[1].tool_calls[0]["tool_input"] == {"command": ["ls"]}


def test_what_the_program_says_in_the_user_s_name_is_left_out(write):
    path = write(
        line("session_meta", **META),
        said("user", "<turn_aborted>\nThe user interrupted", ["generic.turn_aborted"]),
        said("user", "  <user_instructions>be brief"),
        said("user", "# AGENTS.md instructions for /project"),
        said("user", "<environment_context> is what I ask about", ["user.text"]),
    )

    assert lines(read_codex(path).messages) == ["u:<environment_context> is what I ask about"]


def test_a_compaction_is_a_summary(write):
    path = write(
        line("session_meta", **META),
        said("user", "q1"),
        said("assistant", "a1"),
        line("compacted", message="they said q1"),
        line("compacted", message=""),
        said("user", "q2"),
    )

    read = read_codex(path)

    assert lines(read.messages) == ["u:q1", "a:a1", "u:q2"]
    assert read.summary == Summary("they said q1", 2)


@pytest.mark.parametrize(
    ("turns", "kept"), [(1, ["u:q1", "a:a1"]), (2, []), (9, []), (0, ["u:q1", "a:a1", "u:q2"])]
)
def test_turns_that_were_rolled_back_are_not_told(write, turns, kept):
    path = write(
        line("session_meta", **META),
        said("user", "q1"),
        said("assistant", "a1"),
        line("compacted", message="s"),
        said("user", "q2"),
        line("event_msg", type="thread_rolled_back", num_turns=turns),
        said("user", "q3"),
    )

    read = read_codex(path)

    assert lines(read.messages) == [*kept, "u:q3"]
    assert (read.summary is None) is (kept == [])


def test_arguments_that_are_no_json_are_kept_as_they_were_written(write):
    path = write(
        line("session_meta", **META),
        call("c1", "{torn"),
        item("custom_tool_call", name="apply_patch", input="*** Begin", call_id="c2"),
        item(
            "custom_tool_call_output", call_id="c2", output=[{"type": "input_text", "text": "ok"}]
        ),
    )

    message, result = read_codex(path).messages

    assert [block["tool_input"] for block in message.tool_calls] == [
        "{torn",
        {"input": "*** Begin"},
    ]
    assert result.blocks == [tool_result_block("c2", "apply_patch", "ok")]


def test_odd_items_change_nothing(write):
    path = write(
        line("session_meta", id=7),
        item("function_call", name=7, call_id="c1"),
        item("function_call_output", call_id=7),
        item("web_search_call", action={}),
        item("reasoning", summary=[]),
        item(["message"]),
        line("event_msg", type="thread_rolled_back", num_turns="all"),
        {"type": "session_meta"},
        {"timestamp": TIME, "type": ["future"], "payload": {}},
        said("user", ""),
        said("user", "q"),
    )

    read = read_codex(path)

    assert lines(read.messages) == ["u:q"]
    assert sum(read.skipped.values()) == 9


def test_a_foreign_file_is_refused_with_its_line(write):
    with pytest.raises(SessionFileInvalid, match="line 1: this is no session file of Codex"):
        read_codex(write({"type": "user", "sessionId": "s"}, line("session_meta", **META)))
    with pytest.raises(SessionFileInvalid, match="no session file of Codex"):
        read_codex(write("{torn", end=""))


def test_a_torn_last_line_is_cut_and_reported(write):
    whole = json.dumps(said("user", "q"))

    read = read_codex(write(line("session_meta", **META), whole, whole[:40], end=""))

    assert lines(read.messages) == ["u:q"]
    assert read.torn_line == 3
