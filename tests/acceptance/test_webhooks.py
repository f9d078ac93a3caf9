"""Webhooks of a real server, posted to real targets: killed, slow, down, redirecting, private."""

from __future__ import annotations

import json
import math
import signal
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import httpx
import trio
from moorage.adapters.gateways.webhooks import WebhookFile
from moorage.adapters.sinks.webhook import verify

from tests.acceptance.test_http_crash import serving
from tests.adapters.sinks.webhook.target import Reply, listening
from tests.ports import reserved_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adapters.sinks.webhook.target import Received

SESSIONS = ("a", "b", "c")
LIVES = (1, 4, 2)
"""How many requests are answered in each life of the server; it does not see any more answers."""
PATIENCE_SECONDS = 120
OPTIONS = ("--webhooks", "webhooks.json", "--webhook-network", "127.0.0.0/8")
"""Of a server whose webhooks may go to this machine."""


def told(received: Received) -> tuple[str, list[int]]:
    data = json.loads(received.body)["data"]
    return data["session_id"], [event["seq"] for event in data["events"]]


async def run_to_the_end(address: str, session_id: str, deltas: int) -> int:
    """A run in a session, of which there may be some; returns the session's last seq."""
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_SECONDS) as client:
        await client.post("/v1/sessions", json={"id": session_id})
        answer = await client.post(
            f"/v1/sessions/{session_id}/runs",
            json={"input": {"deltas": deltas}},
            headers={"prefer": "wait=60"},
        )
        assert answer.json()["state"] == "completed", answer.text
        head_seq: int = (await client.get(f"/v1/sessions/{session_id}")).json()["head_seq"]
        return head_seq


class Heard:
    """What a target has got, put together as its owner would: by webhook-id, once each."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.seqs: dict[str, list[int]] = defaultdict(list)
        self.repeated = 0
        self.news = trio.Event()

    def hear(self, received: Received, secret: str) -> None:
        id = verify(received.body, received.headers, secret)
        if id in self.bodies:
            assert self.bodies[id] == received.body, "another message with the same id"
            self.repeated += 1
        else:
            self.bodies[id] = received.body
            session_id, seqs = told(received)
            self.seqs[session_id] += seqs
        self.news.set()
        self.news = trio.Event()

    async def wait_all(self, heads: dict[str, int]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while {id: (seqs or [0])[-1] for id, seqs in self.seqs.items()} != heads:
                await self.news.wait()


async def test_a_server_killed_in_mid_delivery_delivers_everything_in_order_with_the_same_ids(
    tmp_path: Path,
) -> None:
    heard = Heard()
    left: list[float] = [math.inf]
    killing = trio.Event()

    async def answer(number: int, received: Received) -> Reply:
        heard.hear(received, secret)
        left[0] -= 1
        if left[0] < 0:
            killing.set()
            await trio.sleep_forever()  # whoever asked is about to be gone
        return Reply()

    async with listening(answer) as target:
        _, secret = WebhookFile(tmp_path / "webhooks.json").add(target.url, created_at_ns=1)
        heads: dict[str, int] = {}
        for answered in LIVES:
            left[0] = answered
            async with serving(tmp_path, *OPTIONS) as server:
                for session_id in SESSIONS:
                    heads[session_id] = await run_to_the_end(server.address, session_id, 150)
                with trio.fail_after(PATIENCE_SECONDS):
                    await killing.wait()
                server.process.kill()
                await server.wait()
            killing = trio.Event()
        left[0] = math.inf
        async with serving(tmp_path, *OPTIONS):
            await heard.wait_all(heads)

    assert heard.seqs == {id: list(range(1, head + 1)) for id, head in heads.items()}
    assert heard.repeated >= len(LIVES)


async def test_a_target_that_was_down_gets_exactly_what_it_is_owed_in_order(
    tmp_path: Path,
) -> None:
    heard = Heard()

    async def answer(number: int, received: Received) -> Reply:
        heard.hear(received, secret)
        return Reply()

    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}/hook"
        _, secret = WebhookFile(tmp_path / "webhooks.json").add(url, created_at_ns=1)
        async with serving(tmp_path, *OPTIONS) as server:
            head_seq = await run_to_the_end(server.address, "a", 20)
            await failures(server.address)
            async with listening(answer, port=port):
                await heard.wait_all({"a": head_seq})

    assert heard.seqs == {"a": list(range(1, head_seq + 1))}
    assert heard.repeated == 0


async def failures(address: str) -> None:
    """Return when the only webhook has failed twice."""
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_SECONDS) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                (webhook,) = (await client.get("/v1/webhooks")).json()["webhooks"]
                if webhook["status"]["failures"] >= 2:
                    break
                await trio.lowlevel.checkpoint()
    assert "ConnectError" in webhook["status"]["last_error"]


async def test_one_that_hangs_and_one_that_redirects_harm_no_other_and_no_run(
    tmp_path: Path,
) -> None:
    heard = Heard()

    async def never(number: int, received: Received) -> Reply:
        await trio.sleep_forever()
        return Reply()

    async def answer(number: int, received: Received) -> Reply:
        heard.hear(received, secret)
        return Reply()

    async with listening() as elsewhere:

        async def redirects(number: int, received: Received) -> Reply:
            return Reply(307, {"location": elsewhere.url})

        async with (
            listening(never) as hanging,
            listening(redirects) as redirecting,
            listening(answer) as working,
        ):
            file = WebhookFile(tmp_path / "webhooks.json")
            for target in (hanging, redirecting):
                file.add(target.url, created_at_ns=1)
            _, secret = file.add(working.url, created_at_ns=1)
            async with serving(tmp_path, *OPTIONS) as server:
                heads = {
                    session_id: await run_to_the_end(server.address, session_id, 50)
                    for session_id in SESSIONS
                }
                await heard.wait_all(heads)
                await redirecting.wait_received(1)
                await hanging.wait_received(1)

        assert elsewhere.received == []


async def test_without_leave_nothing_is_posted_to_this_machine(tmp_path: Path) -> None:
    async with (
        listening() as target,
        serving(tmp_path, "--webhooks", "webhooks.json") as server,
        httpx.AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client,
    ):
        secure = target.url.replace("http://", "https://")
        refused = [
            await client.post("/v1/webhooks", json={"url": url}) for url in (target.url, secure)
        ]
        named = await client.post(
            "/v1/webhooks", json={"url": f"https://localhost:{target.port}/hook"}
        )
        tried = await client.post(f"/v1/webhooks/{named.json()['id']}/test")
        document: dict[str, Any] = tried.json()

        assert [answer.status_code for answer in refused] == [422, 422]
        assert (document["verdict"], document["status"]) == ("later", None)
        assert "does not resolve to a public address" in document["error"]
        assert "127.0.0.1" not in document["error"]
        assert target.connections == 0


async def test_sigterm_does_not_wait_for_a_target_that_hangs_and_the_message_comes_again(
    tmp_path: Path,
) -> None:
    hangs = True
    heard = Heard()

    async def answer(number: int, received: Received) -> Reply:
        if hangs:
            await trio.sleep_forever()
        heard.hear(received, secret)
        return Reply()

    async with listening(answer) as target:
        _, secret = WebhookFile(tmp_path / "webhooks.json").add(target.url, created_at_ns=1)
        async with serving(tmp_path, *OPTIONS) as server:
            head_seq = await run_to_the_end(server.address, "a", 20)
            await target.wait_received(1)
            server.process.send_signal(signal.SIGTERM)
            code = await server.wait()
        hangs = False
        async with serving(tmp_path, *OPTIONS):
            await heard.wait_all({"a": head_seq})

    ids = [received.headers["webhook-id"] for received in target.received]
    assert code == 0
    assert ids[0] == ids[1]
    assert heard.seqs == {"a": list(range(1, head_seq + 1))}
