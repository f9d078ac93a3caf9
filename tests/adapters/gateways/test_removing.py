from __future__ import annotations

import pytest


def ids(moorage):
    return [info["id"] for info in moorage.json("sessions")]


def test_a_session_is_deleted_for_good(filled):
    result = filled("delete", "a", "--yes")

    assert (result.stdout, result.stderr) == ("", "moorage: deleted session 'a': 8 events\n")
    assert ids(filled) == ["b"]
    assert "no session 'a'" in filled("delete", "a", "--yes", code=1).stderr


def test_it_asks_first_and_says_what_would_go(filled):
    result = filled("delete", "a", input="y\n")

    assert "Delete session 'a' with 8 events (2 completed)?" in result.stderr
    assert ids(filled) == ["b"]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_anything_but_yes_deletes_nothing(filled, answer):
    assert "nothing was deleted" in filled("delete", "a", input=answer, code=1).stderr
    assert ids(filled) == ["b", "a"]


def test_other_sessions_are_not_recovered_meanwhile(moorage):
    async def work(supervisor):
        session = await supervisor.session("a")
        await session.pause()
        await session.submit("x")
        await supervisor.session("b")

    moorage.fill(work)
    before = moorage("events", "a", "--json").stdout

    moorage("delete", "b", "--yes")

    assert before == moorage("events", "a", "--json").stdout


def test_a_directory_that_another_process_owns_is_refused(moorage, owner):
    result = moorage("delete", "live", "--yes", code=1)

    assert f"process {owner.process.pid}" in result.stderr
    assert ids(moorage) == ["live"]
    owner.stop()
