from __future__ import annotations

import json

import pytest
from moorage.adapters.gateways.webhooks import WebhookFile
from moorage.adapters.sinks.telemetry import AuditLog

CURSORS = "/v1/sessions/s/cursors/"


async def notes(supervisor, count=3):
    session = await supervisor.session("s")
    for number in range(count):
        await session.append("note", {"n": number})
    return session


async def test_a_cursor_is_moved_told_and_never_goes_back(serving):
    async with serving() as service:
        session = await notes(service.supervisor)
        nothing = await service.client("GET", f"{CURSORS}mine")
        moved = [await service.client("PUT", f"{CURSORS}mine", {"seq": n}) for n in (3, 2, 4)]
        told = await service.client("GET", f"{CURSORS}mine")
        slashed = await service.client("PUT", f"{CURSORS}a%2Fb", {"seq": 1})
        stored = await session.cursor("mine"), await session.cursor("a/b")

    assert nothing.json() == {"name": "mine", "seq": None}
    assert [(answer.status, answer.json()["seq"]) for answer in moved] == [
        (200, 3),
        (200, 3),
        (200, 4),
    ]
    assert told.json() == {"name": "mine", "seq": 4}
    assert slashed.json() == {"name": "a/b", "seq": 1}
    assert stored == (4, 1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"seq": 5}, "invalid_argument"),  # beyond the head
        ({"seq": 0}, "invalid_request"),
        ({"seq": "1"}, "invalid_request"),
        ({"seq": 1.5}, "invalid_request"),
        ({"seq": 1, "force": True}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
async def test_what_makes_no_sense_moves_nothing(serving, body, code):
    async with serving() as service:
        session = await notes(service.supervisor)
        answer = await service.client("PUT", f"{CURSORS}mine", body)

        assert (answer.status, answer.code) == (422, code)
        assert await session.cursor("mine") is None


async def test_a_session_that_is_not_there_has_no_cursors(serving):
    async with serving() as service:
        asked = await service.client("GET", f"{CURSORS}mine")
        moved = await service.client("PUT", f"{CURSORS}mine", {"seq": 1})

    assert (asked.status, asked.code) == (moved.status, moved.code) == (404, "unknown_session")


async def test_a_name_that_a_program_at_the_server_reads_by_is_moved_by_it_alone(serving):
    async with serving() as service:
        session = await notes(service.supervisor)
        async with session.subscribe(name="mine"):
            held = await service.client("PUT", f"{CURSORS}mine", {"seq": 3})
        left = await service.client("PUT", f"{CURSORS}mine", {"seq": 3})

    assert (held.status, held.code) == (409, "cursor_held")
    assert left.json()["seq"] == 3


@pytest.mark.parametrize("offered", [False, True])
async def test_cursors_of_webhooks_are_neither_told_nor_moved(serving, tmp_path, offered):
    file = WebhookFile(tmp_path / "webhooks.json")
    webhook, _ = file.add("https://hook.test/", created_at_ns=0)
    name = webhook.offered_cursor if offered else webhook.cursor
    path = CURSORS + name.replace("/", "%2F")
    async with serving() as service:
        session = await notes(service.supervisor)
        answers = [
            await service.client("GET", path),
            await service.client("PUT", path, {"seq": 3}),
        ]

        assert [(it.status, it.code) for it in answers] == [(422, "invalid_request")] * 2
        assert answers[0].json()["facts"]["errors"][0]["field"] == "name"
        assert await session.cursor(name) is None


async def test_moving_one_is_on_record_and_asking_is_not(serving, tmp_path):
    path = tmp_path / "audit.jsonl"
    async with AuditLog(path) as audit, serving(audit=audit) as service:
        await notes(service.supervisor)
        await service.client("GET", f"{CURSORS}mine")
        await service.client("PUT", f"{CURSORS}mine", {"seq": 3})

    recorded = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(it["action"], it["session_id"], it["outcome"]) for it in recorded] == [
        ("move_cursor", "s", "begun"),
        ("move_cursor", "s", "done"),
    ]
