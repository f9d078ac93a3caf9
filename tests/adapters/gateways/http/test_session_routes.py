from __future__ import annotations

import pytest


async def test_a_session_is_made_with_what_is_given_and_found_again(serving):
    async with serving() as service:
        given = {"id": "user/1", "slots": 3, "tags": {"plan": "pro"}, "metadata": {"$$x": 1}}
        made = await service.client("POST", "/v1/sessions", given | {"mode": "create"})
        found = await service.client("GET", "/v1/sessions/user%2F1")

    assert (made.status, found.status) == (201, 200)
    assert made.json() == found.json()
    for name, value in given.items():
        assert found.json()[name] == value


async def test_without_an_id_it_gets_a_new_one(serving):
    async with serving() as service:
        first = await service.client("POST", "/v1/sessions")
        second = await service.client("POST", "/v1/sessions", {})

    assert (first.status, second.status) == (201, 201)
    assert first.json()["id"] != second.json()["id"]


async def test_create_refuses_one_that_exists_and_resume_one_that_does_not(serving):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a"})
        exists = await service.client("POST", "/v1/sessions", {"id": "a", "mode": "create"})
        unknown = await service.client("POST", "/v1/sessions", {"id": "b", "mode": "resume"})

    assert (exists.status, exists.code) == (409, "session_exists")
    assert (unknown.status, unknown.code) == (404, "unknown_session")


async def test_what_is_configured_changes_and_all_else_stays(serving):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a", "metadata": {"x": 1, "y": 2}})
        change = {"slots": 2, "summary": "talk", "metadata_update": {"x": None, "z": 3}}
        changed = await service.client("PATCH", "/v1/sessions/a", change)

    assert changed.json()["metadata"] == {"y": 2, "z": 3}
    assert (changed.json()["slots"], changed.json()["summary"]) == (2, "talk")


async def test_what_a_session_demands_of_its_node_is_said_and_replaced(serving):
    async with serving() as service:
        opened = await service.client(
            "POST", "/v1/sessions", {"id": "a", "node_tags": {"gpu": "yes"}}
        )
        changed = await service.client("PATCH", "/v1/sessions/a", {"node_tags": {}})
        refused = await service.client("PATCH", "/v1/sessions/a", {"node_tags": {"gpu": 1}})

    assert opened.json()["node_tags"] == {"gpu": "yes"}
    assert changed.json()["node_tags"] == {}
    assert (refused.status, refused.code) == (422, "invalid_request")


async def test_pause_resume_close_and_reopen_tell_whether_they_changed_anything(serving):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a"})
        told = []
        for verb in ("pause", "pause", "resume", "resume", "close", "close", "reopen", "reopen"):
            answer = await service.client("POST", f"/v1/sessions/a/{verb}")
            state = (await service.client("GET", "/v1/sessions/a")).json()["state"]
            told.append((answer.json()["changed"], state))

    assert told == [
        (True, "paused"),
        (False, "paused"),
        (True, "open"),
        (False, "open"),
        (True, "closed"),
        (False, "closed"),
        (True, "open"),
        (False, "open"),
    ]


async def test_closing_with_work_left_needs_force(serving):
    async with serving() as service:
        await service.submit("a", "wait")
        busy = await service.client("POST", "/v1/sessions/a/close")
        forced = await service.client(
            "POST", "/v1/sessions/a/close", {"force": True, "outcome": "cancelled", "reason": "x"}
        )
        after = await service.client("POST", "/v1/sessions/a/runs", {"input": 1})
        info = (await service.client("GET", "/v1/sessions/a")).json()

    assert (busy.status, busy.code, busy.json()["facts"]["running"]) == (409, "session_busy", 1)
    assert forced.json() == {"changed": True}
    assert (after.status, after.code) == (409, "session_closed")
    assert (info["outcome"], info["reason"]) == ("cancelled", "x")


async def test_a_drained_session_reports_and_admits_nothing_until_it_is_resumed(serving):
    async with serving() as service:
        run = await service.submit("a", "wait")
        report = await service.client("POST", "/v1/sessions/a/drain", {"timeout_seconds": 0})
        refused = await service.client("POST", "/v1/sessions/a/runs", {"input": 1})
        await service.client("POST", "/v1/sessions/a/resume")
        taken = await service.client("POST", "/v1/sessions/a/runs", {"input": 1})

    assert report.json()["interrupted"] == [run["run_id"]]
    assert (refused.status, refused.code) == (503, "admission_closed")
    assert int(refused.headers["retry-after"]) >= 1
    assert taken.status in (200, 202)


@pytest.mark.parametrize(
    ("given", "told"), [(60, 60), (0.5, 0.5), ("never", "never"), ("by_policy", None)]
)
async def test_how_long_a_session_is_kept_is_said_and_replaced(serving, given, told):
    async with serving() as service:
        opened = await service.client(
            "POST", "/v1/sessions", {"id": "a", "expire_after_seconds": given}
        )
        await service.client("POST", "/v1/sessions", {"id": "b", "expire_after_seconds": 1})
        changed = await service.client("PATCH", "/v1/sessions/b", {"expire_after_seconds": given})
        kept = await service.client("PATCH", "/v1/sessions/b", {"slots": 2})

    answers = [answer.json()["expire_after_seconds"] for answer in (opened, changed, kept)]
    assert answers == [told] * 3


@pytest.mark.parametrize("given", [-1, "soon", None, True])
async def test_no_time_that_is_none_keeps_a_session(serving, given):
    async with serving() as service:
        answer = await service.client(
            "POST", "/v1/sessions", {"id": "a", "expire_after_seconds": given}
        )

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert answer.json()["facts"]["errors"][0]["field"] == "/expire_after_seconds"


async def test_trimming_forgets_events_and_says_which_is_the_oldest_left(serving):
    async with serving() as service:
        await service.submit("a", {"deltas": 5}, prefer="wait=60")
        trimmed = await service.client("POST", "/v1/sessions/a/trim", {"before": 5})
        expired = await service.client("GET", "/v1/sessions/a/events")

    assert trimmed.json() == {"oldest_seq": 5}
    assert (expired.status, expired.code) == (410, "cursor_expired")
    assert expired.json()["facts"]["oldest_seq"] == 5


async def test_status_names_what_runs_and_what_waits_in_the_queue(serving):
    async with serving() as service:
        runs = [await service.submit("a", "wait") for _ in range(3)]
        status = (await service.client("GET", "/v1/sessions/a/status")).json()

    assert status["running"] == [runs[0]["run_id"]]
    assert status["queued"] == [run["run_id"] for run in runs[1:]]
    assert (status["state"], status["draining"]) == ("open", False)


async def test_lifting_no_quarantine_changes_nothing_and_unknown_ones_are_404(serving):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a"})
        lifted = await service.client("POST", "/v1/sessions/a/unquarantine")
        unknown = await service.client("POST", "/v1/sessions/b/unquarantine")

    assert lifted.json() == {"changed": False}
    assert unknown.code == "unknown_session"


@pytest.mark.parametrize("id", ["", " ", "a\x00b", "x" * 257, "\ud800"])
async def test_an_id_that_cannot_be_one_is_refused(serving, id):
    async with serving() as service:
        answer = await service.client("POST", "/v1/sessions", {"id": id})

    assert answer.status == 422
    assert answer.code in ("invalid_request", "invalid_argument")
