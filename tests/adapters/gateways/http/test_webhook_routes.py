"""Webhooks over HTTP: what is told, what is not, and to whom."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
import trio
from moorage.adapters.gateways.http import SCOPES, TokenFile, create_app
from moorage.adapters.gateways.http.webhook_routes import WEBHOOK_OPERATIONS
from moorage.adapters.gateways.webhooks import WebhookDispatcher
from moorage.adapters.gateways.webhooks.dead_letters import DeadLetter
from moorage.adapters.sinks.telemetry import AuditLog

from tests.adapters.gateways.http.asgi_client import AsgiClient
from tests.adapters.gateways.webhooks.post_office import (
    GONE,
    NEVER,
    REFUSED,
    TAKEN,
    opened_office,
)

URL = "https://hook.test/a"
LETTER = DeadLetter(
    id="msg_1", session_id="a", first_seq=1, last_seq=2, attempts=1, error="", time_ns=1
)


class Gateway:
    """An office with an application over it."""

    def __init__(self, office, auth, audit=None):
        self.office = office
        self.app = create_app(office.supervisor, auth=auth, webhooks=office.dispatcher, audit=audit)
        self.app.state.time_ns = office.clock
        self.client = AsgiClient(self.app)

    async def create(self, **fields):
        answer = await self.client("POST", "/v1/webhooks", {"url": URL, **fields})
        assert answer.status == 201, answer.content
        return answer.json()


@asynccontextmanager
async def gateway(directory, answer=None, *, auth=None, **limits):
    async with opened_office(directory, answer) as office, office.delivering(**limits):
        yield Gateway(office, auth)


async def test_a_webhook_is_registered_delivered_and_told(tmp_path, autojump_clock):
    async with gateway(tmp_path) as served:
        await served.office.notes("before", 1)
        await trio.sleep(1)
        made = await served.create(types=["note"], description="mine", tags={})
        await served.office.notes("a", 3)
        await served.office.post.wait_taken(2, 3, 4)
        told = (await served.client("GET", f"/v1/webhooks/{made['id']}")).json()
        listed = (await served.client("GET", "/v1/webhooks")).json()

    assert made["secret"].startswith("whsec_")
    assert {sent.keys[0] for sent in served.office.post.sent} == {made["secret"]}
    assert (told["url"], told["types"], told["description"]) == (URL, ["note"], "mine")
    assert (told["enabled"], told["disabled_reason"]) == (True, None)
    assert told["status"]["delivered_events"] == 3
    assert told["status"]["delivering"]
    assert [webhook["id"] for webhook in listed["webhooks"]] == [made["id"]]
    assert served.office.post.seqs("before") == []


async def test_from_the_beginning_is_everything_there_is(tmp_path, autojump_clock):
    async with gateway(tmp_path) as served:
        await served.office.notes("a", 3)
        await trio.sleep(1)
        await served.create(start="beginning")
        await served.office.post.wait_taken(1, 2, 3, 4)


async def test_secrets_are_told_once_and_never_again(tmp_path, autojump_clock):
    async with gateway(tmp_path) as served:
        made = await served.create()
        path = f"/v1/webhooks/{made['id']}"
        rotated = (
            await served.client("POST", f"{path}/rotate-secret", {"keep_seconds": 60})
        ).json()
        answers = [
            await served.client("GET", path),
            await served.client("GET", "/v1/webhooks"),
            await served.client("PATCH", path, {"description": "x"}),
            await served.client("POST", f"{path}/test"),
            await served.client("GET", f"{path}/dead-letters"),
        ]
        await served.office.notes("a", 0)
        await served.office.post.wait_sent(2)

    assert {answer.status for answer in answers} == {200}
    told = b"".join(answer.content for answer in answers).decode()
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in told
    assert served.office.post.sent[-1].keys == [rotated["secret"], made["secret"]]
    assert [it["expires_at_ns"] is None for it in answers[0].json()["secrets"]] == [True, False]


async def test_a_webhook_is_changed_stopped_and_goes_on(tmp_path, autojump_clock):
    async with gateway(tmp_path) as served:
        made = await served.create(start="beginning", types=["other"])
        path = f"/v1/webhooks/{made['id']}"
        stopped = (await served.client("PATCH", path, {"enabled": False, "types": None})).json()
        await served.office.notes("a", 1)
        await trio.sleep(60)
        assert served.office.post.sent == []
        new = "https://hook.test/b"
        going = (await served.client("PATCH", path, {"enabled": True, "url": new})).json()
        await served.office.post.wait_taken(1, 2)

    assert (stopped["enabled"], stopped["disabled_reason"]) == (False, "disabled by hand")
    assert (going["enabled"], going["types"], going["url"]) == (True, None, new)
    assert {sent.url for sent in served.office.post.sent} == {new}


async def test_why_a_webhook_was_disabled_is_told(tmp_path, autojump_clock):
    async with gateway(tmp_path, lambda sent: GONE) as served:
        made = await served.create()
        await served.office.notes("a", 0)
        await trio.sleep(10)
        told = (await served.client("GET", f"/v1/webhooks/{made['id']}")).json()

    assert (told["enabled"], told["status"]["delivering"]) == (False, False)
    assert told["disabled_reason"] == "gone: the target answered 410"


async def test_a_webhook_is_removed(tmp_path, autojump_clock):
    async with gateway(tmp_path) as served:
        made = await served.create()
        path = f"/v1/webhooks/{made['id']}"
        removed = await served.client("DELETE", path)
        again = await served.client("DELETE", path)
        await served.office.notes("a", 1)
        await trio.sleep(60)

    assert (removed.json(), again.status, again.code) == ({"changed": True}, 404, "unknown_webhook")
    assert served.office.post.sent == []


@pytest.mark.parametrize("answer", [TAKEN, REFUSED])
async def test_a_webhook_is_tried(tmp_path, autojump_clock, answer):
    async with gateway(tmp_path, lambda sent: answer) as served:
        made = await served.create()
        tried = await served.client("POST", f"/v1/webhooks/{made['id']}/test")

    assert tried.json() == {
        "verdict": answer.verdict,
        "status": answer.status,
        "error": answer.error,
    }


async def test_dead_letters_are_listed_redelivered_and_discarded(tmp_path, autojump_clock):
    dislikes = True

    def answer(sent):
        return NEVER if dislikes else TAKEN

    async with gateway(tmp_path, answer) as served:
        made = await served.create()
        path = f"/v1/webhooks/{made['id']}/dead-letters"
        await served.office.notes("a", 7)
        while len(letters := (await served.client("GET", path)).json()["dead_letters"]) < 4:
            await trio.sleep(1)
        page = (await served.client("GET", f"{path}?limit=1")).json()
        dislikes = False
        chosen = [letters[1]["id"], "msg_unknown"]
        one = (await served.client("POST", f"{path}/redeliver", {"ids": chosen})).json()
        two = (await served.client("POST", f"{path}/redeliver", {"limit": 2})).json()
        left = (await served.client("GET", path)).json()
        discarded = (await served.client("POST", f"{path}/discard")).json()
        told = (await served.client("GET", f"/v1/webhooks/{made['id']}")).json()

    assert (page["total"], page["dead_letters"]) == (4, letters[:1])
    assert (one["delivered"], two["delivered"]) == (1, 2)
    assert served.office.post.seqs() == [*letters_seqs(letters[1]), *letters_seqs(letters[0]), 5, 6]
    assert (left["total"], left["dead_letters"]) == (1, [letters[3]])
    assert (discarded, told["status"]["dead_letters"]) == ({"discarded": 1}, 0)


def letters_seqs(letter):
    return list(range(letter["first_seq"], letter["last_seq"] + 1))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "invalid_request"),
        ({"url": "https://10.0.0.1/"}, "invalid_argument"),
        ({"url": "https://169.254.169.254/latest"}, "invalid_argument"),
        ({"url": "http://example.com/"}, "invalid_argument"),
        ({"url": "https://u:p@example.com/"}, "invalid_argument"),
        ({"url": "file:///etc/passwd"}, "invalid_argument"),
        ({"url": URL, "secret": "mine"}, "invalid_request"),
        ({"url": URL, "types": []}, "invalid_request"),
        ({"url": URL, "types": ["a\0"]}, "invalid_argument"),
        ({"url": URL, "start": "yesterday"}, "invalid_request"),
        ({"url": URL, "session_id": "a", "prefix": "b"}, "invalid_argument"),
        ({"url": URL, "session_id": "a", "tags": {"a": "b"}}, "invalid_argument"),
    ],
    ids=lambda value: None if isinstance(value, str) else json.dumps(value)[:40],
)
async def test_what_makes_no_webhook_makes_none(tmp_path, autojump_clock, fields, code):
    async with gateway(tmp_path) as served:
        answer = await served.client("POST", "/v1/webhooks", fields)
        made = await served.create()
        changed = await served.client(
            "PATCH", f"/v1/webhooks/{made['id']}", {"url": "https://[::1]"}
        )
        listed = (await served.client("GET", "/v1/webhooks")).json()["webhooks"]

    assert (answer.status, answer.code) == (422, code)
    assert (changed.status, changed.code) == (422, "invalid_argument")
    assert [(it["id"], it["url"]) for it in listed] == [(made["id"], URL)]


async def test_the_audit_log_says_which_webhook(tmp_path):
    path = tmp_path / "audit.jsonl"
    async with AuditLog(path) as audit, opened_office(tmp_path) as office:
        office.dispatcher = WebhookDispatcher(office.supervisor, office.file, poster=office.post)
        served = Gateway(office, None, audit)
        made = await served.create()
        await served.client("DELETE", f"/v1/webhooks/{made['id']}")
    told = [json.loads(line) for line in path.read_text().splitlines()]

    assert [(line["action"], line["outcome"], line.get("webhook_id")) for line in told] == [
        ("create_webhook", "begun", None),
        ("create_webhook", "done", made["id"]),
        ("delete_webhook", "begun", made["id"]),
        ("delete_webhook", "done", made["id"]),
    ]


async def test_what_is_to_be_posted_while_nothing_delivers_is_a_503(tmp_path):
    async with opened_office(tmp_path) as office:
        office.dispatcher = WebhookDispatcher(office.supervisor, office.file)
        await office.notes("a", 1)
        webhook = office.register()
        office.file.dead_letters(webhook.id).add(LETTER)
        served = Gateway(office, None)
        answers = [
            await served.client("POST", f"/v1/webhooks/{webhook.id}/{what}")
            for what in ("test", "dead-letters/redeliver")
        ]

    assert {(it.status, it.code) for it in answers} == {(503, "admission_closed")}
    assert office.letters(webhook) == [LETTER]


async def test_a_server_without_webhooks_says_so(serving):
    async with serving() as service:
        for operation in WEBHOOK_OPERATIONS:
            target = operation.path.replace("{webhook_id}", "whk_1")
            body = {"url": URL} if operation.id == "create_webhook" else None
            body = {} if operation.id == "change_webhook" else body
            answer = await service.client(operation.method, target, body)

            assert (answer.status, answer.code) == (404, "webhooks_off"), operation.id


class Tenants:
    """Admins of two tenants, and one of all sessions."""

    def __init__(self, directory):
        self.file = TokenFile(directory / "tokens.json")
        prefixes = {"acme": "acme-", "other": "other-", "all": ""}
        self.tokens = {
            name: self.file.issue(name, scopes=SCOPES, prefix=prefix).token
            for name, prefix in prefixes.items()
        }

    def client(self, served, name):
        return served.client.with_headers(authorization=f"Bearer {self.tokens[name]}")


@pytest.mark.parametrize(
    "operation",
    [it for it in WEBHOOK_OPERATIONS if it.path_parameters],
    ids=lambda operation: operation.id,
)
async def test_a_webhook_of_another_tenant_is_told_like_one_that_is_not_there(
    tmp_path, autojump_clock, operation
):
    tenants = Tenants(tmp_path)
    async with gateway(tmp_path, auth=tenants.file) as served:
        acme, other = tenants.client(served, "acme"), tenants.client(served, "other")
        mine = (await acme("POST", "/v1/webhooks", {"url": URL})).json()
        everybodys = (
            await tenants.client(served, "all")("POST", "/v1/webhooks", {"url": URL})
        ).json()
        before = served.office.file.webhooks()
        body = {} if operation.id == "change_webhook" else None
        answers = {}
        for id in (mine["id"], everybodys["id"], "whk_none"):
            target = operation.path.replace("{webhook_id}", id)
            answers[id] = await other(operation.method, target, body)
        after = served.office.file.webhooks()
        allowed = await acme(
            operation.method, operation.path.replace("{webhook_id}", mine["id"]), body
        )

    told = {answer.content.replace(id.encode(), b"ID") for id, answer in answers.items()}
    assert {answer.status for answer in answers.values()} == {404}
    assert len(told) == 1
    assert before == after
    assert allowed.status == 200


async def test_a_tenant_gets_events_of_its_own_sessions_only(tmp_path, autojump_clock):
    tenants = Tenants(tmp_path)
    async with gateway(tmp_path, auth=tenants.file) as served:
        acme = tenants.client(served, "acme")
        asked = {"none": {}, "shorter": {"prefix": "ac"}, "longer": {"prefix": "acme-x"}}
        made = {
            name: await acme("POST", "/v1/webhooks", {"url": f"https://{name}.test/", **fields})
            for name, fields in asked.items()
        }
        refused = [
            await acme("POST", "/v1/webhooks", {"url": URL, **fields})
            for fields in ({"prefix": "other-"}, {"session_id": "other-1"}, {"session_id": "ac"})
        ]
        for session_id in ("acme-1", "acme-x1", "other-1", "ac"):
            await served.office.notes(session_id, 0)
        await trio.sleep(10)
        listed = (await acme("GET", "/v1/webhooks")).json()["webhooks"]
        all_listed = (await tenants.client(served, "all")("GET", "/v1/webhooks")).json()["webhooks"]

    assert {answer.status for answer in made.values()} == {201}
    assert {(answer.status, answer.code) for answer in refused} == {(403, "outside_tenant")}
    got = {
        (sent.url.split("/")[2].split(".")[0], sent.session_id) for sent in served.office.post.taken
    }
    assert got == {
        ("none", "acme-1"),
        ("none", "acme-x1"),
        ("shorter", "acme-1"),
        ("shorter", "acme-x1"),
        ("longer", "acme-x1"),
    }
    assert len(listed) == len(all_listed) == 3
