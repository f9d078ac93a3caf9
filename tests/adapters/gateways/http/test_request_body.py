from __future__ import annotations

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits
from moorage.adapters.gateways.http.problems import (
    BodyTooLarge,
    BodyTooSlow,
    MalformedRequest,
    UnsupportedMediaType,
)
from moorage.adapters.gateways.http.request_body import DISCARD_SECONDS_MAX, RequestBody
from starlette.datastructures import Headers
from starlette.responses import Response


def request(*pieces, more=False, **headers):
    """A body in these pieces; with ``more`` it is never finished. None: the client goes away."""
    messages = [
        {"type": "http.disconnect"}
        if piece is None
        else {"type": "http.request", "body": piece, "more_body": True}
        for piece in pieces
    ]
    if not more:
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    taken = []

    async def receive():
        await trio.lowlevel.checkpoint()
        if not messages:
            await trio.sleep_forever()
        taken.append(messages.pop(0))
        return taken[-1]

    sent = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    limits = HttpLimits(body_bytes_max=10, body_seconds_max=5)
    return RequestBody(receive, Headers(sent), limits), taken


async def test_the_pieces_are_put_together():
    body, _ = request(b"12", b"345")

    assert await body.read() == b"12345"
    assert body.ended.is_set()


async def test_no_body_needs_no_type():
    body, _ = request(content_type="text/plain")

    assert await body.read() == b""


@pytest.mark.parametrize(
    ("pieces", "headers", "kind"),
    [
        ([b"x" * 11], {}, BodyTooLarge),
        ([], {"content_length": "11"}, BodyTooLarge),
        ([], {"content_length": "9" * 40}, BodyTooLarge),
        ([], {"content_length": "x"}, MalformedRequest),
        ([], {"content_length": "-1"}, MalformedRequest),
        ([b"x", None], {}, MalformedRequest),
        ([b"x"], {"content_type": "text/plain; application/json"}, UnsupportedMediaType),
    ],
)
async def test_what_cannot_be_taken_is_refused(pieces, headers, kind):
    body, _ = request(*pieces, **headers)

    with pytest.raises(kind):
        await body.read()


async def test_a_body_has_its_time(autojump_clock):
    body, _ = request(b"x", more=True)

    with pytest.raises(BodyTooSlow):
        await body.read()
    assert trio.current_time() == pytest.approx(5)


async def test_an_early_answer_is_sent_and_the_rest_of_the_body_discarded():
    body, taken = request(*[b"x" * 5] * 20)
    with pytest.raises(BodyTooLarge):
        await body.read()
    sent = []

    async def send(message):
        sent.append((len(taken), message))

    await body.answer_early(Response(b"no", 413), send)

    assert [message["type"] for _, message in sent] == [
        "http.response.start",
        "http.response.body",
        "http.response.body",
    ]
    assert sent[1][1]["body"] == b"no"
    assert sent[1][0] < 21  # it did not wait for the body
    assert (sent[2][0], sent[2][1]["more_body"]) == (21, False)


async def test_a_body_without_an_end_is_discarded_for_a_while_only(autojump_clock):
    body, _ = request(b"x" * 11, more=True)
    with pytest.raises(BodyTooLarge):
        await body.read()

    async def send(message):
        await trio.lowlevel.checkpoint()

    await body.answer_early(Response(b"no", 413), send)

    assert trio.current_time() <= 2 * DISCARD_SECONDS_MAX
