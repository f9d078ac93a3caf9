from __future__ import annotations

import sys

import pytest
import trio
from moorage.adapters.agents.provider import json_rpc
from moorage.adapters.agents.provider.failures import (
    AuthenticationFailed,
    ProtocolViolated,
    ProviderExited,
    ProviderTimeout,
    ProviderUnavailable,
    RequestInvalid,
)
from moorage.adapters.agents.provider.json_rpc import RpcRefused, open_json_rpc
from moorage.adapters.agents.provider.line_process import open_line_process
from moorage.runtime.errors import InvalidArgument


class FakePeer:
    """The other side, played by the test: ``sent`` is what it got, ``say`` what it says."""

    provider = "fake"

    def __init__(self):
        self._to_test, self._sent = trio.open_memory_channel(100)
        self._to_rpc, self._said = trio.open_memory_channel(100)

    async def send(self, message):
        await self._to_test.send(dict(message))

    def messages(self):
        return self._said

    async def exited(self):
        return ProviderExited("it ended", provider="fake", exit_code=0)

    async def got(self):
        with trio.fail_after(60):
            return await self._sent.receive()

    async def say(self, **message):
        await self._to_rpc.send(message)

    def end(self):
        self._to_rpc.close()


async def ask(rpc, into, method, params=None, **more):
    try:
        into.append(await rpc.request(method, params, **more))
    except Exception as error:
        into.append(error)


async def test_answers_reach_the_request_they_belong_to():
    peer, first, second = FakePeer(), [], []

    async with open_json_rpc(peer) as rpc, trio.open_nursery() as nursery:
        nursery.start_soon(ask, rpc, first, "first", {"a": 1})
        one = await peer.got()
        nursery.start_soon(ask, rpc, second, "second")
        two = await peer.got()
        await peer.say(id=two["id"], result="of second")
        await peer.say(id=one["id"], result=None)

    assert one == {"jsonrpc": "2.0", "id": one["id"], "method": "first", "params": {"a": 1}}
    assert two == {"jsonrpc": "2.0", "id": two["id"], "method": "second"}
    assert (first, second) == ([None], ["of second"])


async def test_notifications_go_both_ways_in_order():
    peer, told = FakePeer(), []

    async def on_notification(method, params):
        await trio.lowlevel.checkpoint()
        told.append((method, params))

    async with open_json_rpc(peer, on_notification=on_notification, header=False) as rpc:
        await rpc.notify("cancel", {"why": "user"})
        for index in range(3):
            await peer.say(method="update", params=index)
        await trio.testing.wait_all_tasks_blocked()

    assert await peer.got() == {"method": "cancel", "params": {"why": "user"}}
    assert told == [("update", 0), ("update", 1), ("update", 2)]


async def test_requests_of_the_peer_are_answered_side_by_side():
    peer, slow_may_go = FakePeer(), trio.Event()

    async def on_request(method, params):
        if method == "slow":
            await slow_may_go.wait()
        return {"method": method, "params": params}

    async with open_json_rpc(peer, on_request=on_request):
        await peer.say(id="a", method="slow")
        await peer.say(id="b", method="quick", params=[1])
        quick = await peer.got()
        slow_may_go.set()
        slow = await peer.got()

    assert quick == {"jsonrpc": "2.0", "id": "b", "result": {"method": "quick", "params": [1]}}
    assert slow["id"] == "a"


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (RpcRefused(-32042, "not now", {"a": 1}), -32042, "not now"),
        (LookupError("no such file"), json_rpc.INTERNAL_ERROR, "LookupError: no such file"),
        (InvalidArgument("bad path"), json_rpc.INVALID_PARAMS, "InvalidArgument: bad path"),
    ],
)
async def test_a_handler_that_raises_answers_with_an_error(raised, code, message):
    peer = FakePeer()

    async def on_request(method, params):
        raise raised

    async with open_json_rpc(peer, on_request=on_request):
        await peer.say(id=1, method="read")
        answer = await peer.got()

    assert (answer["id"], answer["error"]["code"], answer["error"]["message"]) == (1, code, message)
    assert answer["error"].get("data") == getattr(raised, "data", None)


async def test_without_a_handler_no_method_is_found():
    peer = FakePeer()

    async with open_json_rpc(peer):
        await peer.say(id=1, method="read")
        answer = await peer.got()

    assert answer["error"]["code"] == json_rpc.METHOD_NOT_FOUND


async def test_more_requests_at_once_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(json_rpc, "REQUESTS_RUNNING_MAX", 1)
    peer = FakePeer()

    async def on_request(method, params):
        await trio.sleep_forever()

    async with open_json_rpc(peer, on_request=on_request):
        await peer.say(id=1, method="slow")
        await peer.say(id=2, method="slow")
        answer = await peer.got()

    assert (answer["id"], answer["error"]["code"]) == (2, json_rpc.SERVER_BUSY)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": -32602, "message": "no such model", "data": {"a": 1}}, RequestInvalid),
        ({"code": -32601, "message": "unknown"}, ProtocolViolated),
        ({"code": -32603, "message": "oops"}, ProviderUnavailable),
        ({"code": -32000, "message": "log in"}, AuthenticationFailed),
        ({"code": 7}, RequestInvalid),
        ("broken", ProtocolViolated),
    ],
)
async def test_errors_of_the_peer_become_failures(error, kind):
    peer, answers = FakePeer(), []
    errors = {-32000: AuthenticationFailed}

    async with open_json_rpc(peer, errors=errors) as rpc, trio.open_nursery() as nursery:
        nursery.start_soon(ask, rpc, answers, "open")
        await peer.say(id=(await peer.got())["id"], error=error)

    (failure,) = answers
    assert type(failure) is kind
    assert "fake refused open" in str(failure)
    assert failure.facts["rpc_method"] == "open"
    if isinstance(error, dict):
        assert failure.facts["rpc_code"] == error["code"]
        assert failure.facts.get("rpc_data") == error.get("data")


async def test_large_data_of_an_error_is_left_out():
    peer, answers = FakePeer(), []

    async with open_json_rpc(peer) as rpc, trio.open_nursery() as nursery:
        nursery.start_soon(ask, rpc, answers, "open")
        error = {"code": -32602, "message": "no", "data": "x" * 10_000}
        await peer.say(id=(await peer.got())["id"], error=error)

    assert "rpc_data" not in answers[0].facts


async def test_a_request_that_is_not_answered_in_time_fails_and_its_late_answer_is_passed_over(
    autojump_clock,
):
    peer = FakePeer()

    async with open_json_rpc(peer) as rpc:
        with pytest.raises(ProviderTimeout):
            await rpc.request("slow", timeout_seconds=3)
        assert trio.current_time() == pytest.approx(3, abs=0.1)
        await peer.say(id=(await peer.got())["id"], result="late")
        answers = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, rpc, answers, "next")
            await peer.say(id=(await peer.got())["id"], result="in time")

    assert answers == ["in time"]


async def test_the_peers_end_is_raised_from_the_block_whatever_it_waits_for():
    peer = FakePeer()

    with trio.fail_after(60), pytest.raises(ProviderExited):
        async with open_json_rpc(peer):
            peer.end()
            await trio.sleep_forever()


async def test_the_peers_end_fails_requests_that_wait():
    peer, answers = FakePeer(), []

    async def on_request(method, params):
        await ask(rpc, answers, "back")

    with pytest.raises(ProviderExited):
        async with open_json_rpc(peer, on_request=on_request) as rpc:
            await peer.say(id=1, method="there")
            assert (await peer.got())["method"] == "back"
            peer.end()
            await trio.sleep_forever()

    assert [type(answer) for answer in answers] == [ProviderExited]


async def test_an_error_of_the_notification_handler_is_raised_from_the_block():
    peer = FakePeer()

    async def on_notification(method, params):
        raise LookupError(method)

    with trio.fail_after(60), pytest.raises(LookupError):
        async with open_json_rpc(peer, on_notification=on_notification):
            await peer.say(method="update")
            await trio.sleep_forever()


async def test_a_message_that_is_none_breaks_the_protocol():
    peer = FakePeer()

    with trio.fail_after(60), pytest.raises(ProtocolViolated):
        async with open_json_rpc(peer):
            await peer.say(hello="world")
            await trio.sleep_forever()


async def test_an_exception_of_the_block_comes_out_bare():
    peer = FakePeer()

    with pytest.raises(LookupError):
        async with open_json_rpc(peer):
            raise LookupError


async def test_a_cancellation_passes():
    peer = FakePeer()

    with trio.CancelScope() as scope:
        async with open_json_rpc(peer):
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught


async def test_a_task_that_outlives_its_cancellation_can_hear_a_last_answer():
    peer, heard = FakePeer(), []

    with trio.CancelScope() as scope:
        async with open_json_rpc(peer) as rpc:
            try:
                scope.cancel()
                await rpc.request("prompt")
            except trio.Cancelled:
                with trio.CancelScope(shield=True), trio.fail_after(60):
                    await peer.say(method="update", params={})
                    await peer.say(id=rpc.last_id, method="asks under the same id")
                    await peer.say(id=rpc.last_id, result="stopped")
                    heard.append(await rpc.answer_to(rpc.last_id))
                    peer.end()
                    heard.append(await rpc.answer_to(rpc.last_id))
                raise

    assert heard == [{"id": 1, "result": "stopped"}, None]


PROGRAM = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "die":
        sys.exit("no memory left")
    print(json.dumps({"id": asked["id"], "result": asked["params"]}), flush=True)
"""


async def test_it_works_with_a_real_program_to_its_death(leaves_nothing):
    command = [sys.executable, "-c", PROGRAM]

    with trio.fail_after(60), pytest.raises(ProviderExited) as caught:
        async with (
            open_line_process(command, provider="fake") as process,
            open_json_rpc(process) as rpc,
        ):
            assert await rpc.request("echo", {"text": "hi"}) == {"text": "hi"}
            await rpc.request("die")

    assert (caught.value.exit_code, caught.value.stderr) == (1, "no memory left\n")
