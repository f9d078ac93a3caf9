"""Every route with every kind of token: nobody gets at what is not theirs."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from moorage.adapters.gateways.http import SCOPES, Principal, TokenFile
from moorage.adapters.gateways.http.authorisation import visible_prefix
from moorage.adapters.gateways.http.routes import OPERATIONS

PROTECTED = [operation for operation in OPERATIONS if operation.scope is not None]
OF_SESSIONS = [
    operation
    for operation in PROTECTED
    if "session_id" in operation.path_parameters and operation.id != "create_stream"
]

BODIES = {
    "submit_run": {"input": "hello"},
    "steer_run": {"message": "hello"},
    "answer_run": {"value": True},
    "append_events": {"events": [{"type": "note", "data": {}}]},
    "add_messages": {"messages": [{"role": "user", "content": "hello"}]},
    "configure_session": {"slots": 2},
    "trim_session": {"before": 1},
    "move_cursor": {"seq": 1},
    "make_branch": {"seq": 1},
    "rotate_session": {"summary": "hello"},
    "create_webhook": {"url": "https://example.com/hook"},
    "change_webhook": {"enabled": False},
}
"""What operations are asked with that do not work without a body."""

CONTENTS = {"append_to_stream": b"hello"}
"""The same for those that take anything."""

(CREATE_STREAM,) = (operation for operation in PROTECTED if operation.id == "create_stream")
OF_RAW_STREAMS = {"append_to_stream", "delete_stream"}
"""What is done to no other session."""

NAMES = {
    "run_id": "run_none",
    "name": "question",
    "request_id": "run_none:call",
    "label": "here",
    "checkpoint_id": "chk_none",
    "webhook_id": "whk_none",
}
"""Path parameters below a session; what they name need not exist."""


class Tokens:
    """A file with a token of every kind."""

    def __init__(self, path) -> None:
        self.file = TokenFile(path)
        issue = self.file.issue
        self.of_scope = {scope: issue(scope, scopes=[scope]).token for scope in SCOPES}
        self.acme = issue("acme", scopes=SCOPES, prefix="acme-").token
        self.other = issue("other", scopes=SCOPES, prefix="other-").token
        expired = issue("expired", scopes=SCOPES, seconds=1e-9).token
        revoked = issue("revoked", scopes=SCOPES)
        self.file.revoke(revoked.stored.id)
        guessed = self.of_scope["admin"][:-1] + "!"
        self.refused = {
            "none": None,
            "empty": "Bearer ",
            "another scheme": f"Basic {self.of_scope['admin']}",
            "no token of ours": "Bearer nonsense",
            "guessed": f"Bearer {guessed}",
            "expired": f"Bearer {expired}",
            "revoked": f"Bearer {revoked.token}",
        }


@pytest.fixture
def tokens(tmp_path):
    return Tokens(tmp_path / "tokens.json")


def target(operation, session_id):
    names = NAMES | {"session_id": session_id}
    return "/".join(
        quote(names[part[1:-1]], safe="") if part.startswith("{") else part
        for part in operation.path.split("/")
    )


async def ask(client, operation, session_id, authorization):
    headers = {} if authorization is None else {"authorization": authorization}
    if operation.raw:
        headers["content-type"] = "text/plain"
    return await client(
        operation.method,
        target(operation, session_id),
        BODIES.get(operation.id),
        content=CONTENTS.get(operation.id),
        headers=headers,
    )


def told(answer, session_id):
    """What an answer tells, whatever the session in it is called."""
    return answer.status, json.loads(answer.content.replace(session_id.encode(), b"ID"))


async def test_whoever_does_not_say_who_they_are_gets_nowhere(serving, tokens):
    async with serving(auth=tokens.file) as service:
        await service.supervisor.session("acme-1")
        for operation in PROTECTED:
            for kind, authorization in tokens.refused.items():
                answer = await ask(service.client, operation, "acme-1", authorization)

                assert (answer.status, answer.code) == (401, "unauthenticated"), (
                    operation.id,
                    kind,
                )
                assert "Bearer" in answer.headers["www-authenticate"]
        assert (await service.supervisor.handle("acme-1").info()).head_seq == 1


async def test_a_token_does_what_its_scope_allows_and_nothing_else(serving, tokens):
    async with serving(auth=tokens.file) as service:
        for number, operation in enumerate(PROTECTED):
            for scope, token in tokens.of_scope.items():
                session_id = f"session-{number}-{scope}"
                await service.supervisor.session(session_id)
                answer = await ask(service.client, operation, session_id, f"Bearer {token}")

                allowed = scope in (operation.scope, "admin")
                assert allowed == (answer.status not in (401, 403)), (operation.id, scope)
                if not allowed:
                    assert answer.code == "scope_missing"
                    assert operation.scope in answer.headers["www-authenticate"]
                    head_seq = (await service.supervisor.handle(session_id).info()).head_seq
                    assert head_seq == 1


@pytest.mark.parametrize("operation", OF_SESSIONS, ids=lambda operation: operation.id)
async def test_a_session_of_another_tenant_is_told_exactly_like_one_that_is_not_there(
    serving, tokens, operation
):
    async with serving(auth=tokens.file) as service:
        theirs = await service.supervisor.session("acme-1")
        await theirs.execute("secret")
        before = await theirs.info()
        authorization = f"Bearer {tokens.other}"
        foreign = await ask(service.client, operation, "acme-1", authorization)
        unknown = await ask(service.client, operation, "acme-2", authorization)
        missing = await ask(service.client, operation, "other-2", authorization)

        assert told(foreign, "acme-1") == told(unknown, "acme-2") == told(missing, "other-2")
        assert (foreign.status, foreign.code) == (404, "unknown_session")
        assert before == await theirs.info()
        assert [info.id async for info in service.supervisor.sessions()] == ["acme-1"]


@pytest.mark.parametrize("operation", OF_SESSIONS, ids=lambda operation: operation.id)
async def test_a_tenant_reaches_its_own_sessions_by_every_route(serving, tokens, operation):
    async with serving(auth=tokens.file) as service:
        if operation.id in OF_RAW_STREAMS:
            made = await ask(service.client, CREATE_STREAM, "acme-1", f"Bearer {tokens.acme}")
            assert made.status == 201
        else:
            await service.supervisor.session("acme-1")
        answer = await ask(service.client, operation, "acme-1", f"Bearer {tokens.acme}")

    assert answer.status < 300 or answer.code in (
        "unknown_run",
        "unknown_checkpoint",
    ), answer.content


async def test_a_tenant_lists_its_own_sessions_only(serving, tokens):
    async with serving(auth=tokens.file) as service:
        for session_id in ("acme-1", "acme-2", "acme", "other-1", "zzz"):
            await service.supervisor.session(session_id)
        client = service.client.with_headers(authorization=f"Bearer {tokens.acme}")
        found = {}
        for prefix in ("", "a", "acme-", "acme-1", "other-", "zzz"):
            page = (await client("GET", f"/v1/sessions?prefix={prefix}")).json()
            found[prefix] = sorted(info["id"] for info in page["sessions"])

    both = ["acme-1", "acme-2"]
    assert found == {
        "": both,
        "a": both,
        "acme-": both,
        "acme-1": ["acme-1"],
        "other-": [],
        "zzz": [],
    }


@pytest.mark.parametrize("mode", ["open_or_create", "create", "resume"])
async def test_a_tenant_makes_sessions_of_its_own_and_is_told_nothing_of_others(
    serving, tokens, mode
):
    async with serving(auth=tokens.file) as service:
        await service.supervisor.session("other-1")
        client = service.client.with_headers(authorization=f"Bearer {tokens.acme}")
        refused = [
            await client("POST", "/v1/sessions", {"id": session_id, "mode": mode})
            for session_id in ("other-1", "other-2", "acme")
        ]
        made = await client("POST", "/v1/sessions")
        session_id = made.json()["id"]
        forks = [
            await client("POST", f"/v1/sessions/{session_id}/forks", {"session_id": wanted})
            for wanted in ("other-1", "other-2")
        ]
        forked = await client("POST", f"/v1/sessions/{session_id}/forks")
        rotated = await client(
            "POST", f"/v1/sessions/{session_id}/rotate", {"summary": "x", "session_id": "other-3"}
        )

    documents = {answer.content for answer in [*refused, *forks, rotated]}
    assert len(documents) == 1
    assert (refused[0].status, refused[0].code) == (403, "outside_tenant")
    assert session_id.startswith("acme-ses_")
    assert forked.json()["id"].startswith("acme-ses_")


async def test_a_tenant_makes_streams_of_its_own_and_inherits_from_no_others(serving, tokens):
    async with serving(auth=tokens.file) as service:
        acme = service.client.with_headers(authorization=f"Bearer {tokens.acme}")
        other = service.client.with_headers(authorization=f"Bearer {tokens.other}")
        write = service.client.with_headers(authorization=f"Bearer {tokens.of_scope['write']}")
        made = await acme("PUT", "/v1/stream/acme-1", content=b"1")
        foreign = [await other("PUT", f"/v1/stream/acme-{n}") for n in (1, 2)]
        forks = [
            await other(
                "PUT", "/v1/stream/other-1", headers={"stream-forked-from": f"/v1/stream/acme-{n}"}
            )
            for n in (1, 2)
        ]
        unread = await write(
            "PUT", "/v1/stream/copy", headers={"stream-forked-from": "/v1/stream/acme-1"}
        )
        ids = [info.id async for info in service.supervisor.sessions()]

    assert made.status == 201
    assert [answer.code for answer in (*foreign, *forks)] == ["unknown_session"] * 4
    assert told(foreign[0], "acme-1") == told(foreign[1], "acme-2")
    assert told(forks[0], "acme-1") == told(forks[1], "acme-2")
    assert unread.code == "scope_missing"
    assert ids == ["acme-1"]


async def test_who_may_write_may_not_approve_by_answering(
    serving, scripted, tokens, autojump_clock
):
    async with serving(agent=scripted, auth=tokens.file) as service:
        session = await service.supervisor.session("a")
        run = await session.submit("approve this")
        await session.events(types={"run_waiting"}, wait_seconds=60)
        (request,) = await session.events(types={"tool_approval_requested"})
        name = quote(f"approval:{request.data['tool_call_id']}", safe="")
        path = f"/v1/sessions/a/runs/{run.id}/answers/{name}"
        write = service.client.with_headers(authorization=f"Bearer {tokens.of_scope['write']}")
        approve = service.client.with_headers(authorization=f"Bearer {tokens.of_scope['approve']}")
        smuggled = await write("POST", path, {"value": {"approved": True}})
        allowed = await approve(
            "POST",
            f"/v1/sessions/a/approvals/{quote(request.data['request_id'], safe='')}/approve",
            {"by": "somebody else"},
        )
        (granted,) = await session.events(types={"tool_approval_granted"}, wait_seconds=60)

    assert (smuggled.status, smuggled.code) == (403, "scope_missing")
    assert allowed.json() == {"answered": True}
    assert granted.data["by"] == "approve"  # the token's name, not what the body says


async def test_without_authentication_anybody_may_do_anything(serving):
    async with serving() as service:
        for number, operation in enumerate(PROTECTED):
            await service.supervisor.session(f"session-{number}")
            answer = await ask(service.client, operation, f"session-{number}", None)

            assert answer.status not in (401, 403), operation.id


@pytest.mark.parametrize(
    ("own", "wanted", "visible"),
    [
        ("", "", ""),
        ("", "x", "x"),
        ("acme-", "", "acme-"),
        ("acme-", "ac", "acme-"),
        ("acme-", "acme-x", "acme-x"),
        ("acme-", "b", None),
    ],
)
def test_what_may_be_seen_of_what_is_wanted(own, wanted, visible):
    assert visible == visible_prefix(Principal(key="k", prefix=own), wanted)
