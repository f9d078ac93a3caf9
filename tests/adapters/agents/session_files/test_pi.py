from __future__ import annotations

import pytest
from moorage.adapters.agents.session_files import SessionFileInvalid, read_pi
from moorage.adapters.agents.session_files.imported import Mark, Summary

from tests.runtime.talks import lines

TIME = "1970-01-01T00:00:01.000Z"


def head(version=3):
    versioned = {} if version == 1 else {"version": version}
    return {"type": "session", **versioned, "id": "s1", "timestamp": TIME, "cwd": "/project"}


def entry(type, id=None, parent=None, **fields):
    tree = {} if id is None else {"id": id, "parentId": parent}
    return {"type": type, **tree, "timestamp": TIME, **fields}


def said(role, content, id=None, parent=None, **message):
    return entry("message", id, parent, message={"role": role, "content": content, **message})


def text(text):
    return [{"type": "text", "text": text}]


CALL = {"type": "toolCall", "id": "c1", "name": "bash", "arguments": {"command": "ls"}}


def test_a_conversation_with_a_tool_is_read(write):
    path = write(
        head(),
        entry("model_change", "1", None, provider="p", modelId="m0"),
        entry("thinking_level_change", "2", "1", thinkingLevel="off"),
        said("user", text("list it"), "3", "2"),
        said("assistant", [*text("I list."), CALL], "4", "3", model="m", stopReason="toolUse"),
        said("toolResult", text("a.txt"), "5", "4", toolCallId="c1", toolName="bash", isError=True),
        said("assistant", text("One"), "6", "5", model="m", stopReason="aborted"),
        entry("session_info", "7", "6", name="A talk"),
    )

    read = read_pi(path)

    assert lines(read.messages) == ["u:list it", "a:I list. c1?", "t:c1=a.txt!", "a:One..."]
    assert (read.provider, read.session_id, read.title) == ("pi", "s1", "A talk")
    assert read.settings == {"working_directory": "/project", "model": "m"}
    assert read.skipped == {"thinking_level_change": 1}
    assert read.messages[0].time_ns == 1_000_000_000


def test_only_the_branch_of_the_last_entry_counts(write):
    path = write(
        head(),
        said("user", "q1", "1", None),
        said("assistant", text("a1"), "2", "1"),
        said("user", "left", "3", "2"),
        entry("label", "4", "3", targetId="3", label="left behind"),
        entry("branch_summary", "5", "2", fromId="3", summary="left was tried"),
        said("user", "kept", "6", "5"),
        entry("label", "7", "6", targetId="2", label="answer"),
        entry("label", "8", "7", targetId="6", label="question"),
        entry("label", "9", "8", targetId="6", label=" "),
    )

    read = read_pi(path)

    assert [lines(read.messages)[index] for index in (0, 1, 3)] == ["u:q1", "a:a1", "u:kept"]
    assert read.messages[2].is_summary
    assert "left was tried" in read.messages[2].text
    assert read.marks == [Mark("answer", 1)]


def test_a_compaction_keeps_messages_from_the_entry_that_it_names(write):
    path = write(
        head(),
        said("user", "q1", "1", None),
        said("assistant", text("a1"), "2", "1"),
        said("user", "q2", "3", "2"),
        entry("compaction", "4", "3", summary="they said q1", firstKeptEntryId="3"),
        said("assistant", text("a2"), "5", "4"),
    )

    read = read_pi(path)

    assert lines(read.messages) == ["u:q1", "a:a1", "u:q2", "a:a2"]
    assert read.summary == Summary("they said q1", 2)


def test_a_compaction_that_names_no_entry_keeps_what_comes_behind_it(write):
    path = write(
        head(),
        said("user", "q1", "1", None),
        entry("compaction", "2", "1", summary="s", firstKeptEntryId="gone"),
        entry("compaction", "3", "2", summary=""),
        said("user", "q2", "4", "3"),
    )

    assert read_pi(path).summary == Summary("s", 1)


def test_version_1_has_no_ids(write):
    path = write(
        head(1),
        said("user", "q1"),
        said("assistant", text("a1")),
        said("user", "q2"),
        entry("compaction", summary="they said q1", firstKeptEntryIndex=3),
        said("assistant", text("a2")),
    )

    read = read_pi(path)

    assert lines(read.messages) == ["u:q1", "a:a1", "u:q2", "a:a2"]
    assert read.summary == Summary("they said q1", 2)


def test_other_roles_are_told_in_the_user_s_name(write):
    path = write(
        head(2),
        said("bashExecution", None, "1", None, command="ls", output="a.txt"),
        said("bashExecution", None, "2", "1", command="x", output="", excludeFromContext=True),
        said("hookMessage", "from a hook", "3", "2"),
        said("custom", text("from an extension"), "4", "3"),
        entry("custom_message", "5", "4", customType="x", content="also", display=True),
        entry("custom", "6", "5", customType="x", data={}),
    )

    read = read_pi(path)

    assert lines(read.messages) == [
        "u:Ran `ls`:\na.txt",
        "u:from a hook",
        "u:from an extension",
        "u:also",
    ]
    assert read.skipped == {"message": 1, "custom": 1}


def test_odd_entries_change_nothing(write):
    path = write(
        {**head(), "cwd": None},
        said("user", "q", "1", None),
        entry("message", "2", "1", message="no map"),
        said(["user"], "x", "3", "2"),
        said("toolResult", "x", "4", "3", toolCallId=7),
        said("toolResult", "x", "5", "4", toolCallId="c1", toolName=7),
        entry("custom_message", "6", "5", content=""),
        entry("branch_summary", "7", "6", summary=""),
        entry("model_change", "8", "7", modelId=None),
        entry("label", "9", "8", targetId=7),
        entry(["future"], "10", "9"),
        {"type": "future", "id": 7},
    )

    read = read_pi(path)

    assert lines(read.messages) == ["u:q", "t:c1=x"]
    assert read.settings == {}


def test_labels_of_a_session_without_messages_have_no_place(write):
    path = write(head(), entry("label", "1", None, targetId="1", label="here"))

    assert read_pi(path).marks == []
    assert read_pi(write(head())).messages == []


@pytest.mark.parametrize("version", [4, "3", None])
def test_another_version_is_refused(write, version):
    with pytest.raises(SessionFileInvalid, match=r"line 1: its version is .*reads up to 3"):
        read_pi(write({**head(), "version": version}))


def test_a_foreign_file_is_refused_with_its_line(write):
    with pytest.raises(SessionFileInvalid, match="line 2: this is no head of a pi session"):
        read_pi(write("", {"role": "user", "content": "q"}))
    with pytest.raises(SessionFileInvalid, match="no session file of pi"):
        read_pi(write("{torn", end=""))
