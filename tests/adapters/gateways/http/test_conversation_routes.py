from __future__ import annotations

import pytest

A = "/v1/sessions/a"


async def talk(service, *texts):
    """Sessions whose runs say something."""
    for text in texts:
        run = await service.submit("a", text, prefer="wait=60")
        assert run["state"] == "completed"


def said(answer):
    return [message["content"] for message in answer.json()["messages"]]


async def test_messages_are_what_was_said_page_by_page(serving, scripted, autojump_clock):
    async with serving(agent=scripted) as service:
        await talk(service, "one", "two")
        all_of_it = await service.client("GET", f"{A}/messages")
        page = await service.client("GET", f"{A}/messages?limit=1")
        after = page.json()["messages"][0]["seq"]
        rest = await service.client("GET", f"{A}/messages?after={after}")

    assert said(all_of_it) == ["one", "You said: one", "two", "You said: two"]
    assert said(page) + said(rest) == said(all_of_it)


async def test_messages_of_elsewhere_become_part_of_the_context(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
        added = await service.client("POST", f"{A}/messages", {"messages": messages})
        context = await service.client("GET", f"{A}/context")
        wrong = await service.client("POST", f"{A}/messages", {"messages": [{"content": "hi"}]})

    assert (added.status, len(added.json()["events"])) == (201, 2)
    assert said(context) == ["hi", "ho"]
    assert (wrong.status, wrong.code) == (422, "invalid_argument")


async def test_labels_are_set_moved_listed_and_taken_away(serving):
    async with serving() as service:
        await service.submit("a", 1, prefer="wait=60")
        first = await service.client("PUT", f"{A}/labels/start", {"seq": 1, "description": "d"})
        await service.client("PUT", f"{A}/labels/here%2Fnow")
        await service.client("PUT", f"{A}/labels/start", {"seq": 2})
        listed = (await service.client("GET", f"{A}/labels")).json()["labels"]
        gone = [
            (await service.client("DELETE", f"{A}/labels/start")).json()["changed"]
            for _ in range(2)
        ]
        beyond = await service.client("PUT", f"{A}/labels/far", {"seq": 10_000})

    assert (first.json()["label"], first.json()["seq"]) == ("start", 1)
    assert [(label["label"], label["seq"]) for label in listed][1] == ("start", 2)
    assert listed[0]["label"] == "here/now"
    assert gone == [True, False]
    assert (beyond.status, beyond.code) == (422, "invalid_argument")


async def test_a_checkpoint_is_made_listed_and_restored(serving, scripted, autojump_clock):
    async with serving(agent=scripted) as service:
        await talk(service, "one")
        made = await service.client("POST", f"{A}/checkpoints", {"metadata": {"x": 1}})
        await talk(service, "two")
        listed = (await service.client("GET", f"{A}/checkpoints")).json()["checkpoints"]
        id = made.json()["checkpoint_id"]
        restored = await service.client("POST", f"{A}/checkpoints/{id}/restore")
        messages = await service.client("GET", f"{A}/messages")
        branches = (await service.client("GET", f"{A}/branches")).json()["branches"]
        unknown = await service.client("POST", f"{A}/checkpoints/chk_none/restore")

    assert (made.status, listed) == (201, [made.json()])
    assert restored.json() == {"changed": True}
    assert said(messages) == ["one", "You said: one"]
    assert [branch["active"] for branch in branches] == [False, True]
    assert (unknown.status, unknown.code) == (404, "unknown_checkpoint")


async def test_one_branches_off_and_clears(serving, scripted, autojump_clock):
    async with serving(agent=scripted) as service:
        await talk(service, "one", "two")
        seq = (await service.client("GET", f"{A}/messages")).json()["messages"][1]["seq"]
        await service.client("POST", f"{A}/branches", {"seq": seq, "name": "other"})
        branched = await service.client("GET", f"{A}/messages")
        await service.client("POST", f"{A}/clear")
        cleared = await service.client("GET", f"{A}/messages")

    assert said(branched) == ["one", "You said: one"]
    assert said(cleared) == []


async def test_a_fork_begins_with_what_was_said(serving, scripted, autojump_clock):
    async with serving(agent=scripted) as service:
        await talk(service, "one")
        forked = await service.client("POST", f"{A}/forks", {"session_id": "b"})
        made = await service.client("POST", f"{A}/forks")
        messages = await service.client("GET", "/v1/sessions/b/messages")
        taken = await service.client("POST", f"{A}/forks", {"session_id": "a"})

    assert (forked.status, forked.json()["id"]) == (201, "b")
    assert forked.json()["metadata"]["forked_from"]["session_id"] == "a"
    assert made.json()["id"].startswith("ses_")
    assert said(messages) == ["one", "You said: one"]
    assert taken.status in (409, 422)


async def test_rotating_closes_this_one_and_goes_on_with_a_summary(
    serving, scripted, autojump_clock
):
    async with serving(agent=scripted) as service:
        await talk(service, "one")
        rotated = await service.client("POST", f"{A}/rotate", {"summary": "one was said"})
        old = (await service.client("GET", A)).json()
        new = rotated.json()["id"]
        context = await service.client("GET", f"/v1/sessions/{new}/context")

    assert rotated.status == 201
    assert old["state"] == "closed"
    assert "one was said" in str(context.json())


@pytest.mark.parametrize(
    "path", ["messages", "context", "labels", "checkpoints", "branches", "approvals", "status"]
)
async def test_an_unknown_session_has_none_of_it(serving, path):
    async with serving() as service:
        answer = await service.client("GET", f"/v1/sessions/b/{path}")

    assert (answer.status, answer.code) == (404, "unknown_session")


@pytest.mark.parametrize(("path", "body"), [("forks", {}), ("rotate", {"summary": "x"})])
async def test_an_unknown_session_cannot_go_on_elsewhere(serving, path, body):
    async with serving() as service:
        answer = await service.client("POST", f"/v1/sessions/b/{path}", body)
        listed = await service.client("GET", "/v1/sessions")

    assert (answer.status, answer.code) == (404, "unknown_session")
    assert listed.json()["sessions"] == []
