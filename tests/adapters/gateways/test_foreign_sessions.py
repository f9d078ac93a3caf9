from __future__ import annotations

import json
import os

import pytest
from moorage.adapters.agents.session_files import read_messages
from moorage.adapters.gateways import foreign_sessions

from tests.runtime.talks import lines

CLAUDE = [
    {"type": "file-history-snapshot", "messageId": "x", "snapshot": {}},
    {"type": "user", "sessionId": "claude-1", "uuid": "1", "message": {"content": "List files"}},
    {
        "type": "assistant",
        "sessionId": "claude-1",
        "uuid": "2",
        "parentUuid": "1",
        "timestamp": "2026-01-02T03:04:05Z",
        "message": {
            "id": "m",
            "model": "claude-x",
            "content": [{"type": "tool_use", "id": "t1", "name": "ls", "input": {}}],
        },
    },
    {
        "type": "user",
        "sessionId": "claude-1",
        "uuid": "3",
        "parentUuid": "2",
        "message": {"content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a.txt"}]},
    },
]
CODEX = [
    {"timestamp": "t", "type": "session_meta", "payload": {"id": "codex-1", "cwd": "/work"}},
    {
        "timestamp": "t",
        "type": "response_item",
        "payload": {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "List files"}],
        },
    },
]
PI = [
    {"type": "session", "version": 3, "id": "pi-1", "timestamp": "t", "cwd": "/"},
    {
        "type": "message",
        "id": "a",
        "parentId": None,
        "message": {"role": "user", "content": "List files"},
    },
]
MESSAGES = [{"role": "user", "content": "List files"}, {"role": "assistant", "content": "a.txt"}]


@pytest.fixture
def write(tmp_path):
    def write(values, name="session.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
        return str(path)

    return write


def told(moorage, id):
    async def read(supervisor):
        session = await supervisor.session(id, mode="resume")
        return lines(await session.messages()), (await session.transcript()).settings

    return moorage.fill(read)


@pytest.mark.parametrize(
    ("values", "id", "expected"),
    [
        (CLAUDE, "claude-1", ["u:List files", "a:t1?", "t:t1=a.txt"]),
        (CODEX, "codex-1", ["u:List files"]),
        (PI, "pi-1", ["u:List files"]),
    ],
)
def test_a_session_of_another_program_is_known_by_its_content_and_goes_on(
    moorage, write, values, id, expected
):
    result = moorage("import", write(values))

    assert result.stdout == id + "\n"
    assert f"{len(expected)} messages ({id.partition('-')[0]})" in result.stderr
    messages, settings = told(moorage, id)
    assert messages == expected
    assert settings.get("provider") in (None, id.partition("-")[0])
    (info,) = moorage.json("sessions")
    assert info["summary"] == "List files"
    directory = {"codex-1": "/work", "pi-1": "/"}.get(id)
    assert info["tags"] == ({"directory": directory} if directory else {})
    assert info["metadata"]["imported_from"] == {
        "provider": id.partition("-")[0],
        "session_id": id,
    }

    async def go_on(supervisor):
        session = await supervisor.session(id, mode="resume")
        outcome = await session.execute("And?")
        return outcome.output, lines(await session.messages())

    output, messages = moorage.fill(go_on)
    assert output == "And?"
    assert messages == [*expected, "u:And?", "a:And?"]


def test_messages_get_an_id_of_their_own_or_the_one_that_is_given(moorage, write):
    path = write(MESSAGES)

    made = moorage("import", path).stdout.strip()
    given = moorage("import", path, "--as", "mine").stdout.strip()

    assert made.startswith("ses_")
    assert given == "mine"
    assert told(moorage, made)[0] == told(moorage, "mine")[0] == ["u:List files", "a:a.txt"]


def test_times_are_those_of_the_file(moorage, write):
    moorage("import", write(CLAUDE))

    (received,) = moorage.lines("events", "claude-1", "--type", "message_received", "--json")
    assert received["metadata"] == {"provider_time_ns": 1_767_323_045_000_000_000}


def test_exported_messages_are_imported_again_the_same(filled, tmp_path):
    path = tmp_path / "messages.jsonl"
    exported = filled.lines("export", "a", "--format", "messages")

    filled("export", "a", "--format", "messages", "-o", str(path))
    filled("import", str(path), "--as", "copy")

    again = filled.lines("export", "copy", "--format", "messages")
    assert exported
    assert exported == [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["role"], one["content"]) for one in exported] == [
        (one["role"], one["content"]) for one in again
    ]
    assert len(read_messages(path).messages) == len(exported)
    assert os.listdir(tmp_path).count("messages.jsonl") == 1


def test_a_format_can_be_forced_and_is_then_the_only_one(moorage, write):
    path = write(MESSAGES)

    refused = moorage("import", path, "--format", "pi", code=1).stderr
    other = moorage("import", path, "--format", "moorage", code=1).stderr
    moorage("import", path, "--format", "messages", "--as", "a")

    assert "line 1: this is no head of a pi session; nothing was imported" in refused
    assert "line 1: this is no export" in other
    assert told(moorage, "a")[0] == ["u:List files", "a:a.txt"]


def test_it_may_come_through_standard_input(moorage):
    content = "".join(json.dumps(value) + "\n" for value in PI)

    assert moorage("import", "-", input=content.encode()).stdout == "pi-1\n"


def test_a_foreign_file_is_refused_naming_what_is_known(moorage, write):
    result = moorage("import", write([{"a": 1}]), code=1)

    assert "line 1: this is no export of moorage, no session file of Claude Code" in result.stderr
    assert "nothing was imported" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not moorage.data.exists()


def test_a_torn_last_line_is_told_and_damage_is_refused_or_skipped(moorage, tmp_path):
    path = tmp_path / "pi.jsonl"
    texts = [json.dumps(value) for value in PI]
    path.write_text("\n".join([texts[0], "damage", texts[1], '{"torn']))

    refused = moorage("import", str(path), code=1).stderr
    skipped = moorage("import", str(path), "--skip-damaged").stderr

    assert "line 2: it is no JSON" in refused
    assert "--skip-damaged reads the rest" in refused
    assert "line 2 is damaged and was skipped" in skipped
    assert "line 4 was torn off and is left out" in skipped
    assert told(moorage, "pi-1")[0] == ["u:List files"]


def test_a_session_that_exists_is_not_touched(moorage, write):
    path = write(PI)
    moorage("import", path)
    before = moorage("export", "pi-1").stdout

    assert "session 'pi-1' exists" in moorage("import", path, code=1).stderr
    assert moorage("export", "pi-1").stdout == before


def test_what_is_larger_than_a_record_is_refused_and_changes_nothing(moorage, write, monkeypatch):
    monkeypatch.setattr(foreign_sessions, "RECORD_BYTES_MAX", 2_000)
    path = write([*MESSAGES, {"role": "user", "content": "x" * 3_000}])

    result = moorage("import", path, "--as", "a", code=1)

    assert "record_bytes_max is 2000" in result.stderr
    assert not moorage.data.exists()
