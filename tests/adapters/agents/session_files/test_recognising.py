from __future__ import annotations

import pytest
from moorage.adapters.agents.session_files import (
    SessionFileInvalid,
    load_session_file,
    read_session_file,
)

FILES = {
    "claude": [
        {"type": "file-history-snapshot", "messageId": "x", "snapshot": {}},
        {"type": "user", "sessionId": "s", "uuid": "u", "message": {"content": "q"}},
    ],
    "codex": [{"timestamp": "t", "type": "session_meta", "payload": {"id": "s"}}],
    "pi": [{"type": "session", "version": 3, "id": "s", "timestamp": "t", "cwd": "/"}],
    "messages": [{"role": "user", "content": "q"}],
}


@pytest.mark.parametrize("provider", FILES)
async def test_whose_file_it_is_is_told_by_its_first_lines(write, provider):
    path = write(*FILES[provider])

    assert read_session_file(path).provider == provider
    assert (await load_session_file(path)).provider == provider


@pytest.mark.parametrize("provider", FILES)
def test_a_format_that_is_named_is_not_looked_for(write, provider):
    path = write(*FILES[provider])
    for other in FILES:
        if other == provider:
            assert read_session_file(path, format=other).provider == provider
        else:
            with pytest.raises(SessionFileInvalid):
                read_session_file(path, format=other)


def test_an_older_file_of_codex_is_known_too(write):
    head = {"id": "s", "timestamp": "t", "instructions": "be brief"}

    assert read_session_file(write(head)).provider == "codex"


@pytest.mark.parametrize("lines", [[{"a": 1}, {"type": "x"}], ["{torn"]])
def test_a_file_of_nobody_known_is_refused(write, lines):
    with pytest.raises(SessionFileInvalid, match="line 1: this is no session file of Claude Code"):
        read_session_file(write(*lines, end=""))


def test_damage_is_refused_or_skipped_as_asked(write):
    path = write(*FILES["pi"], "damage", {"type": "session_info", "id": "1", "name": "A talk"})

    with pytest.raises(SessionFileInvalid, match="line 2"):
        read_session_file(path)
    read = read_session_file(path, skip_damaged=True)

    assert (read.title, read.damaged_lines) == ("A talk", [2])
