from __future__ import annotations

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits, Principal
from moorage.adapters.gateways.http.call import Call, reply
from moorage.adapters.gateways.http.gateway_state import GatewayState
from moorage.adapters.gateways.http.problems import OutsideTenant


async def never():
    await trio.sleep_forever()


def call(receive=never, prefix=""):
    state = GatewayState(None, None, HttpLimits(), {})
    principal = Principal(key="me", prefix=prefix)
    return Call(state, None, principal, {}, receive, {"session_id": "a"}, {})


async def test_what_is_waited_for_is_returned(autojump_clock):
    waiting = call()

    async def wait():
        await trio.sleep(5)
        return 7

    assert await waiting.while_wanted(wait) == 7
    assert waiting.state.streams == 0


async def test_waiting_ends_when_the_client_goes_away(autojump_clock):
    async def gone():
        await trio.sleep(3)
        return {"type": "http.disconnect"}

    waiting = call(gone)

    assert await waiting.while_wanted(never) is None
    assert waiting.client_gone
    assert trio.current_time() == pytest.approx(3)


async def test_waiting_ends_when_the_server_does(autojump_clock):
    waiting = call()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.while_wanted, never)
        await trio.sleep(1)
        waiting.state.end()

    assert not waiting.client_gone


async def test_what_fails_is_raised_bare():
    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await call().while_wanted(fail)


def test_a_new_id_has_the_prefix_and_another_must_have_it():
    tenant = call(prefix="acme-")

    assert tenant.new_session_id(None).startswith("acme-ses_")
    assert tenant.new_session_id("acme-1") == "acme-1"
    with pytest.raises(OutsideTenant):
        tenant.new_session_id("other-1")


def test_a_reply_is_json_with_a_line_break():
    answer = reply({"é": 1}, 201, {"x": "y"})

    assert (answer.status_code, answer.headers["x"]) == (201, "y")
    assert bytes(answer.body) == '{"é":1}\n'.encode()
