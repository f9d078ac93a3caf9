from __future__ import annotations

import pytest
from moorage.adapters.agents.session_files import SessionFileInvalid, read_claude_code
from moorage.adapters.agents.session_files.imported import Summary

from tests.runtime.talks import lines

TIME = "1970-01-01T00:00:01.000Z"


def entry(uuid, parent, type, content, **more):
    return {
        "parentUuid": parent,
        "isSidechain": False,
        "type": type,
        "message": {"role": type, "content": content, **more.pop("message", {})},
        "uuid": uuid,
        "timestamp": TIME,
        "cwd": "/project",
        "sessionId": "s1",
        "version": "2.1.0",
        **more,
    }


def user(uuid, parent, content, **more):
    return entry(uuid, parent, "user", content, **more)


def answer(uuid, parent, *blocks, id=None, **more):
    message = {"model": "m", "type": "message", **({"id": id} if id else {})}
    return entry(uuid, parent, "assistant", list(blocks), message=message, **more)


def text(text):
    return {"type": "text", "text": text}


def call(id):
    return {"type": "tool_use", "id": id, "name": "Bash", "input": {"command": "ls"}}


def result(id, content="out", **more):
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def test_a_conversation_with_a_tool_is_read(write):
    path = write(
        {"type": "queue-operation", "operation": "enqueue", "sessionId": "s1", "content": "q"},
        user("u1", None, "list it"),
        {"type": "attachment", "uuid": "x1", "parentUuid": "u1", "isSidechain": False},
        answer("a1", "x1", {"type": "thinking", "thinking": "hm", "signature": "s"}, id="m1"),
        answer("a2", "a1", text("I list."), id="m1"),
        answer("a3", "a2", call("c1"), id="m1"),
        user("u2", "a3", [result("c1", [text("a.txt")])], toolUseResult={"stdout": "a.txt"}),
        answer("a4", "u2", text("One file."), id="m2"),
        {"type": "last-prompt", "lastPrompt": "list it", "leafUuid": "a4", "sessionId": "s1"},
    )

    read = read_claude_code(path)

    assert lines(read.messages) == [
        "u:list it",
        "a:I list. [hm] c1?",
        "t:c1=a.txt",
        "a:One file.",
    ]
    assert (read.provider, read.session_id, read.torn_line) == ("claude", "s1", None)
    assert read.settings == {"working_directory": "/project", "model": "m"}
    assert read.skipped == {"queue-operation": 1, "attachment": 1, "last-prompt": 1}
    assert read.messages[0].time_ns == 1_000_000_000
    assert read.messages[2].blocks[0]["tool_name"] == "Bash"


def test_an_answer_keeps_what_the_provider_sent(write):
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}

    read = read_claude_code(
        write(
            user("u1", None, "q"),
            answer("a1", "u1", thinking, id="m1"),
            answer("a2", "a1", text("a"), id="m1"),
        )
    )

    assert read.messages[1].original == {"provider": "anthropic", "content": [thinking, text("a")]}


def test_calls_that_were_made_at_once_keep_all_their_results(write):
    path = write(
        user("u1", None, "q"),
        answer("a1", "u1", call("c1"), id="m1"),
        answer("a2", "a1", call("c2"), id="m1"),
        user("u2", "a1", [result("c1", "one")]),
        user("u3", "a2", [result("c2", "two", is_error=True)]),
        answer("a3", "u3", text("done"), id="m2"),
    )

    assert lines(read_claude_code(path).messages) == [
        "u:q",
        "a:c1? c2?",
        "t:c1=one",
        "t:c2=two!",
        "a:done",
    ]


def test_a_part_of_an_answer_beside_the_branch_is_kept(write):
    path = write(
        user("u1", None, "q"),
        answer("a1", "u1", call("c1"), id="m1"),
        answer("a2", "a1", call("c2"), id="m1"),
        user("u2", "a2", [result("c2", "two")]),
        user("u3", "a1", [result("c1", "one")]),
        answer("a3", "u3", text("done"), id="m2"),
    )

    assert lines(read_claude_code(path).messages) == [
        "u:q",
        "a:c1? c2?",
        "t:c2=two",
        "t:c1=one",
        "a:done",
    ]


def test_only_the_branch_of_the_last_message_counts(write):
    path = write(
        user("u1", None, "q1"),
        answer("a1", "u1", text("a1"), id="m1"),
        user("u2", "a1", "left"),
        answer("a2", "u2", call("c1"), id="m2"),
        user("u3", "a2", [result("c1")]),
        user("u4", "a1", "kept"),
        answer("a3", "u4", text("a3"), id="m3"),
    )

    assert lines(read_claude_code(path).messages) == ["u:q1", "a:a1", "u:kept", "a:a3"]


def test_what_sub_agents_and_the_program_itself_say_is_left_out(write):
    path = write(
        user("u1", None, "q"),
        user("m1", "u1", "Caveat: ...", isMeta=True),
        user("s1", "u1", "sub prompt", isSidechain=True),
        answer("s2", "s1", text("sub answer"), isSidechain=True),
        answer("e1", "m1", text("API Error"), isApiErrorMessage=True),
        answer("a1", "e1", text("a")),
        answer("a2", "a1"),
    )

    read = read_claude_code(path)

    assert lines(read.messages) == ["u:q", "a:a"]
    assert read.skipped == {"user": 2, "assistant": 2}


def test_a_compaction_is_a_summary_and_what_came_before_is_kept(write):
    path = write(
        user("u1", None, "q1"),
        answer("a1", "u1", text("a1"), id="m1"),
        {
            "type": "system",
            "subtype": "compact_boundary",
            "uuid": "b1",
            "parentUuid": None,
            "logicalParentUuid": "a1",
            "sessionId": "s1",
        },
        user("u2", "b1", "they said q1", isCompactSummary=True),
        user("u3", "u2", "q2"),
    )

    read = read_claude_code(path)

    assert lines(read.messages) == ["u:q1", "a:a1", "u:q2"]
    assert read.summary == Summary("they said q1", 2)


def test_the_title_is_the_summary_of_the_session(write):
    path = write({"type": "summary", "summary": "A talk", "leafUuid": "u1"}, user("u1", None, "q"))

    assert read_claude_code(path).title == "A talk"


def test_a_torn_last_line_is_cut_and_reported(write):
    read = read_claude_code(write(user("u1", None, "q"), '{"type": "assis', end=""))

    assert lines(read.messages) == ["u:q"]
    assert read.torn_line == 2


def test_odd_lines_change_nothing(write):
    path = write(
        user("u1", None, "q"),
        {"type": "user", "uuid": "o1", "sessionId": "s1", "message": "no map"},
        user("o2", "u1", [7, result(7), {"type": "tool_result"}]),
        user("o3", "o2", "", isCompactSummary=True),
        {"type": 7, "sessionId": 7, "uuid": 7},
        user("u2", "o3", "q2", cwd=None),
    )

    assert lines(read_claude_code(path).messages) == ["u:q", "u:q2"]


def test_a_foreign_file_is_refused(write):
    with pytest.raises(SessionFileInvalid, match="no session file of Claude Code"):
        read_claude_code(write({"role": "user", "content": "q"}))


def test_tens_of_megabytes_are_read(write):
    output = "x" * 100_000
    entries = [user("u0", None, "q")]
    for number in range(1, 200):
        entries.append(answer(f"a{number}", f"u{number - 1}", call(f"c{number}")))
        entries.append(user(f"u{number}", f"a{number}", [result(f"c{number}", output)]))

    read = read_claude_code(write(*entries))

    assert len(read.messages) == 1 + 2 * 199
    assert sum(len(m.blocks[0].get("tool_output", "")) for m in read.messages) == 19_900_000


def test_an_answer_that_is_written_as_a_text_is_given_back_as_one(write):
    said = entry("a1", "u1", "assistant", "plain", message={"id": "m1"})

    read = read_claude_code(write(user("u1", None, "q"), said))

    assert read.messages[1].original == {"provider": "anthropic", "content": [text("plain")]}


def test_the_program_s_own_answers_name_no_model(write):
    path = write(
        user("u1", None, "q"),
        answer("a1", "u1", text("a"), id="m1"),
        user("u2", "a1", "stop"),
        entry("a2", "u2", "assistant", "No response.", message={"model": "<synthetic>"}),
    )

    assert read_claude_code(path).settings["model"] == "m"
