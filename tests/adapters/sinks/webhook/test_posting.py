"""One message to one target, whatever the target does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from email.utils import formatdate
from ipaddress import ip_address

import pytest
import trio
from moorage.adapters.sinks.webhook import AddressRules, PostLimits, new_secret, posting, verify
from moorage.adapters.sinks.webhook.messages import Message
from moorage.adapters.sinks.webhook.posting import WebhookPoster, retry_after
from moorage.runtime import AdmissionClosed
from structlog.testing import capture_logs

from tests.adapters.sinks.webhook.target import LOOPBACK, Reply, listening, refusing, replies

NOW = 1_700_000_000.0
MESSAGE = Message(id="msg_1", body=b'{"type":"test"}')


@asynccontextmanager
async def poster(*, allowed=LOOPBACK, limits=None, **options):
    made = WebhookPoster(
        AddressRules(allowed), limits or PostLimits(), clock=lambda: NOW, **options
    )
    async with made.opened():
        yield made


async def post(answer, **options):
    """What came of it, and what the target saw."""
    async with listening(answer) as target, poster(**options) as made:
        return await made.post(target.url, [new_secret()], MESSAGE), target


async def test_what_arrives_is_signed_with_every_secret():
    secrets = [new_secret(), new_secret()]
    async with listening() as target, poster() as made:
        posted = await made.post(target.url + "?a=b", secrets, MESSAGE)
    (received,) = target.received

    assert (posted.verdict, posted.status, posted.error) == ("taken", 204, None)
    assert (received.path, received.body) == ("/hook?a=b", MESSAGE.body)
    assert received.headers["content-type"] == "application/json"
    for secret in secrets:
        assert verify(received.body, received.headers, secret, now=NOW) == "msg_1"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "taken"),
        (202, "taken"),
        (304, "later"),
        (400, "never"),
        (401, "later"),
        (403, "later"),
        (404, "later"),
        (408, "later"),
        (409, "later"),
        (410, "gone"),
        (413, "never"),
        (415, "never"),
        (422, "never"),
        (425, "later"),
        (429, "later"),
        (500, "later"),
        (503, "later"),
    ],
)
async def test_a_status_says_what_to_do_next(status, verdict):
    posted, _ = await post(replies(Reply(status, body=b"" if status == 304 else b"so")))

    assert (posted.verdict, posted.status) == (verdict, status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status):
    async with listening() as elsewhere:
        posted, _ = await post(replies(Reply(status, {"location": elsewhere.url})))

        assert (posted.verdict, posted.status) == ("later", status)
        assert "redirects are not followed" in posted.error
        assert elsewhere.connections == 0


async def test_a_target_that_does_not_answer_has_its_time_and_no_more():
    async def never(number, received):
        await trio.sleep_forever()

    posted, _ = await post(never, limits=PostLimits(post_seconds=0.1))

    assert (posted.verdict, posted.status) == ("later", None)
    assert posted.error == "no answer within 0.1 seconds"


async def test_a_target_that_is_down_is_asked_later():
    with refusing() as port:
        async with poster() as made:
            posted = await made.post(f"http://127.0.0.1:{port}/hook", [new_secret()], MESSAGE)

    assert (posted.verdict, posted.status) == ("later", None)
    assert posted.error.startswith("ConnectError")


async def test_an_endless_answer_is_cut_off():
    posted, target = await post(replies(Reply(200, endless=True)))

    assert (posted.verdict, posted.status) == ("taken", 200)
    assert target.sent_bytes < 64 * 1024 * 1024


async def test_what_is_no_http_is_asked_later():
    async def chatter(stream):
        async with stream:
            await stream.send_all(b"220 mail.test ESMTP\r\n")

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery, poster() as made:
        nursery.start_soon(trio.serve_listeners, chatter, listeners)
        posted = await made.post(f"http://127.0.0.1:{port}/", [new_secret()], MESSAGE)
        nursery.cancel_scope.cancel()

    assert (posted.verdict, posted.status) == ("later", None)
    assert "Error" in posted.error


async def test_a_private_address_is_refused_and_nobody_is_connected_to():
    async with listening() as target, poster(allowed=()) as made:
        posted = await made.post(f"https://127.0.0.1:{target.port}/", [new_secret()], MESSAGE)

        assert (posted.verdict, posted.status) == ("later", None)
        assert "which is loopback" in posted.error
        assert target.connections == 0


async def here(host, port):
    await trio.lowlevel.checkpoint()
    return [ip_address("127.0.0.1")]


@pytest.mark.parametrize("allowed", [(), LOOPBACK], ids=["refused", "allowed"])
async def test_what_a_network_calls_its_own_is_in_the_log_and_nowhere_else(allowed):
    with refusing() as port, capture_logs() as logged:
        async with poster(allowed=allowed, resolve=here) as made:
            posted = await made.post(f"https://hook.test:{port}/", [new_secret()], MESSAGE)

    assert posted.error.startswith(
        "ConnectError: hook.test takes no connection: Connection refused"
        if allowed
        else "hook.test does not resolve to a public address"
    )
    assert "127.0.0.1" not in posted.error
    assert "127.0.0.1" in str(logged)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test"], ids=["empty label", "long label"])
async def test_a_name_that_cannot_be_looked_up_is_asked_later(host):
    async with poster() as made:
        posted = await made.post(f"https://{host}/", [new_secret()], MESSAGE)

    assert (posted.verdict, posted.status) == ("later", None)
    assert "cannot be resolved" in posted.error or "label" in posted.error


async def test_a_failure_that_nobody_thought_of_is_told_and_asked_later():
    async def breaks(host, port):
        await trio.lowlevel.checkpoint()
        raise RuntimeError("out of order")

    with capture_logs() as logged:
        async with poster(resolve=breaks) as made:
            posted = await made.post("https://hook.test/", [new_secret()], MESSAGE)

    assert (posted.verdict, posted.error) == ("later", "RuntimeError: out of order")
    assert [line["event"] for line in logged] == ["webhook_post_failed"]


async def test_nothing_is_posted_before_and_after():
    async with poster() as made:
        pass

    with pytest.raises(AdmissionClosed, match="not running"):
        await made.post("https://hook.test/", [new_secret()], MESSAGE)


async def test_without_encryption_nothing_goes_to_a_public_address():
    async def public(host, port):
        await trio.lowlevel.checkpoint()
        return [ip_address("1.1.1.1")]

    async with poster(resolve=public) as made:
        posted = await made.post("http://hook.test/", [new_secret()], MESSAGE)

    assert "reached without encryption" in posted.error


async def test_encryption_and_host_have_the_name_although_the_address_is_connected_to(tmp_path):
    pytest.importorskip("cryptography")
    from tests.adapters.sinks.webhook.certificates import contexts_for

    server, client = contexts_for("hook.test", tmp_path)
    asked = []
    server.sni_callback = lambda connection, name, context: asked.append(name)
    async with (
        listening(ssl_context=server) as target,
        poster(resolve=here, ssl_context=client) as made,
    ):
        secrets = [new_secret()]
        posted = await made.post(f"https://hook.test:{target.port}/", secrets, MESSAGE)
        impostor = await made.post(f"https://other.test:{target.port}/", secrets, MESSAGE)

    assert (posted.verdict, asked[0]) == ("taken", "hook.test")
    assert target.received[0].headers["host"] == f"hook.test:{target.port}"
    assert (impostor.verdict, impostor.status) == ("later", None)
    assert "certificate" in impostor.error.lower()


async def test_proxies_of_the_environment_do_not_count(monkeypatch):
    async with listening() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        posted, target = await post(None)

        assert (posted.verdict, len(target.received), proxy.connections) == ("taken", 1, 0)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (Reply(429, {"retry-after": "7"}), 7),
        (Reply(503, {"Retry-After": "100000"}), 3_600),
        (Reply(429), 0),
        (Reply(500, {"retry-after": "7"}), 0),
    ],
)
async def test_a_busy_target_says_when_to_come_back(reply, seconds):
    posted, _ = await post(replies(reply))

    assert (posted.verdict, posted.retry_after_seconds) == ("later", seconds)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("soon", 0),
        ("-3", 0),
        (" 12 ", 12),
        ("9" * 50, 999_999_999_999),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW + 90).replace("-0000", ""), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
    ],
    ids=["none", "word", "negative", "number", "huge", "date", "date without zone", "past"],
)
def test_retry_after_is_a_number_or_a_date(text, seconds):
    assert retry_after(text, NOW) == seconds


async def test_a_connection_is_used_again(monkeypatch):
    monkeypatch.setattr(posting, "KEPT_SECONDS", 3_600.0)
    async with listening() as target, poster() as made:
        for _ in range(3):
            await made.post(target.url, [new_secret()], MESSAGE)

    assert (len(target.received), target.connections) == (3, 1)
