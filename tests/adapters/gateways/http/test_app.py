from __future__ import annotations

import pytest
import structlog
import trio
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http import app as app_module
from moorage.adapters.gateways.http.console_pages import POLICY
from moorage.runtime import StoreFailed

from tests.adapters.gateways.http.asgi_client import AsgiClient


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1, column 2"),
        (b"{'a': 1}", "not JSON"),
        (b'{"input": NaN}', "NaN is no number"),
        (b'\xff{"input": 1}', "not UTF-8: byte 0xff at offset 0"),
        (b'{"input": "\xc3"}', "offset 11"),
        (b'{"input": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"input": ' + b"9" * 5_000 + b"}", "cannot be read"),
    ],
)
async def test_a_body_that_is_no_json_is_told_where(serving, content, why):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", "/v1/sessions/a/runs", content=content)

    assert (answer.status, answer.code) == (400, "malformed_request")
    assert why in answer.json()["detail"]


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "\ud800", {"$no": 1}])
async def test_what_no_log_can_hold_is_refused(serving, value):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", "/v1/sessions/a/runs", {"input": value})

    assert (answer.status, answer.code) == (422, "invalid_argument")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken(serving, media_type):
    async with serving() as service:
        answer = await service.client(
            "POST", "/v1/sessions", {}, headers={"content-type": media_type}
        )

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_a_body_where_none_is_taken_is_refused(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", "/v1/sessions/a/pause", {"for": "ever"})
        empty = await service.client("POST", "/v1/sessions/a/pause", {})

    assert (answer.status, empty.status) == (400, 200)


async def test_nothing_is_where_nothing_is(serving):
    async with serving() as service:
        told = [
            await service.client("GET", path)
            for path in ("/v", "/v1", "/v1/sessions/", "/v2/sessions", "/v1/sessions/a/b/c/d/e")
        ]
        method = await service.client("PUT", "/v1/sessions/a")
        not_text = await service.client("GET", "/v1/sessions/%ff")

    assert {(answer.status, answer.code) for answer in told} == {(404, "unknown_route")}
    assert (method.status, method.headers["allow"]) == (405, "DELETE, GET, HEAD, PATCH")
    assert (not_text.status, not_text.code) == (400, "malformed_request")


async def test_a_page_of_another_origin_changes_nothing(serving):
    async with serving() as service:
        foreign = await service.client(
            "POST", "/v1/sessions", headers={"origin": "https://evil.example"}
        )
        null = await service.client("POST", "/v1/sessions", headers={"origin": "null"})
        own = await service.client(
            "POST", "/v1/sessions", headers={"origin": "http://127.0.0.1:8040"}
        )

    assert (foreign.status, foreign.code) == (null.status, null.code) == (403, "origin_refused")
    assert own.status == 201


async def test_cors_is_off_unless_an_origin_is_named(serving):
    preflight = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
        "origin": "https://console.example",
    }
    async with serving() as service:
        off = await service.client("OPTIONS", "/v1/sessions", headers=preflight)
    async with serving(cors=["https://console.example"]) as service:
        on = await service.client("OPTIONS", "/v1/sessions", headers=preflight)
        made = await service.client(
            "POST", "/v1/sessions", headers={"origin": "https://console.example"}
        )
        foreign = await service.client(
            "OPTIONS", "/v1/sessions", headers=preflight | {"origin": "https://evil.example"}
        )

    assert "access-control-allow-origin" not in off.headers
    assert on.headers["access-control-allow-origin"] == "https://console.example"
    assert (made.status, made.headers["access-control-allow-origin"]) == (
        201,
        "https://console.example",
    )
    assert "access-control-allow-origin" not in foreign.headers


async def test_asking_too_often_is_429_by_client(serving, autojump_clock):
    limits = HttpLimits(requests_per_second_max=2, requests_burst_max=3)
    async with serving(limits=limits) as service:
        statuses = [(await service.client("GET", "/healthz")).status for _ in range(4)]
        refused = await service.client("GET", "/healthz")
        other = AsgiClient(service.app)
        other.address = "192.0.2.9"
        from_elsewhere = await other("GET", "/healthz")
        await trio.sleep(float(refused.headers["retry-after"]))
        later = await service.client("GET", "/healthz")

    assert statuses == [200, 200, 200, 429]
    assert refused.code == "too_many_requests"
    assert (from_elsewhere.status, later.status) == (200, 200)


async def test_headers_and_bodies_have_limits(serving):
    async with serving(limits=HttpLimits(header_bytes_max=1_024, body_bytes_max=100)) as service:
        headers = await service.client("GET", "/healthz", headers={"x": "y" * 1_000})
        query = await service.client("GET", f"/healthz?{'x' * 1_000}")
        body = await service.client("POST", "/v1/sessions", content=b" " * 101)
        declared = await service.client(
            "POST", "/v1/sessions", content=b"{}", headers={"content-length": "101"}
        )

    assert {(answer.status, answer.code) for answer in (headers, query)} == {
        (431, "headers_too_large")
    }
    assert {(answer.status, answer.code) for answer in (body, declared)} == {
        (413, "body_too_large")
    }
    assert body.json()["facts"] == {"limit": 100}


async def test_a_body_that_does_not_arrive_is_given_up(serving, autojump_clock):
    async with serving(limits=HttpLimits(body_seconds_max=5)) as service:
        messages = []

        async def receive():
            await trio.sleep_forever()

        async def send(message):
            messages.append(message)

        await service.app(service.client.scope("POST", "/v1/sessions"), receive, send)

        assert 5 <= trio.current_time() < 8
    assert messages[0]["status"] == 408


async def test_a_defect_of_ours_is_500_and_in_the_log(serving, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(app_module, "read_parameters", broken)
    async with serving() as service:
        with structlog.testing.capture_logs() as logs:
            answer = await service.client("GET", "/healthz")

    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"secret" not in answer.content
    assert [entry["event"] for entry in logs] == ["http_request_failed"]


async def test_readiness_follows_the_drain_and_the_store(serving, monkeypatch):
    async with serving() as service:
        ready = await service.client("GET", "/readyz")
        service.supervisor._log.failure = StoreFailed("disk", poisoned=True)
        failed = await service.client("GET", "/readyz")
        service.supervisor._log.failure = None
        report = await service.app.drain(timeout_seconds=0)
        draining = await service.client("GET", "/readyz")
        alive = await service.client("GET", "/healthz")
        new = await service.client("POST", "/v1/sessions", {"id": "a"})

    assert (ready.status, alive.status) == (200, 200)
    assert (failed.status, failed.json()["reason"]) == (503, "store_failed")
    assert (draining.status, draining.json()["reason"]) == (503, "draining")
    assert "retry-after" in draining.headers
    assert report.interrupted == ()
    assert (new.status, new.code) == (503, "admission_closed")


async def test_head_answers_like_get(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("HEAD", "/v1/sessions/a")
        with trio.fail_after(60):  # and is no stream, which would have no end
            events = await service.client(
                "HEAD", "/v1/sessions/a/events", headers={"accept": "text/event-stream"}
            )

    assert (answer.status, events.status) == (200, 200)
    assert events.headers["content-type"] == "application/json"


async def test_lifespans_are_lived_and_websockets_refused(serving):
    sent = []

    async def send(message):
        sent.append(message["type"])

    to_come = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive():
        return to_come.pop()

    async with serving() as service:
        await service.app({"type": "lifespan"}, receive, send)
        await service.app({"type": "websocket"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


async def test_the_end_of_a_drain_ends_streams_also_when_it_fails(serving, monkeypatch):
    async with serving() as service:

        async def broken(**_):
            raise StoreFailed("disk")

        with monkeypatch.context() as patch:
            patch.setattr(service.supervisor, "drain", broken)
            with pytest.raises(StoreFailed):
                await service.app.drain()

        assert service.app.state.ended


async def test_forks_and_new_sessions_wait_for_the_next_process_while_draining(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        service.app.state.draining = True
        refused = [
            await service.client("POST", "/v1/sessions/a/forks"),
            await service.client("POST", "/v1/sessions/a/rotate", {"summary": "x"}),
            await service.client("POST", "/v1/sessions", {"id": "b"}),
        ]
        resumed = await service.client("POST", "/v1/sessions", {"id": "a", "mode": "resume"})

    assert {(answer.status, answer.code) for answer in refused} == {(503, "admission_closed")}
    assert resumed.status == 200


@pytest.mark.parametrize(
    ("method", "path", "policy"),
    [
        ("GET", "/v1/stream/page", "sandbox; default-src 'none'"),
        ("GET", "/v1/sessions", "sandbox; default-src 'none'"),
        ("GET", "/nowhere", "sandbox; default-src 'none'"),
        ("GET", "/console/nowhere", "sandbox; default-src 'none'"),
        ("GET", "/console/", None),
    ],
)
async def test_what_others_have_written_is_no_page_of_this_server(serving, method, path, policy):
    sent = []
    async with serving() as service:
        html = {"content-type": "text/html"}
        script = b"<script>alert(document.domain)</script>"
        await service.client("PUT", "/v1/stream/page", content=script, headers=html)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        await service.app(service.client.scope(method, path), receive, send)

    policies = [v for name, v in sent[0]["headers"] if name == b"content-security-policy"]
    assert policies == [(policy or POLICY).encode()]
