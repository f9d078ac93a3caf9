from __future__ import annotations

import pytest
import trio
from moorage.adapters.gateways.http import HttpLimits, Principal
from moorage.adapters.gateways.http.gateway_state import GatewayState
from moorage.adapters.gateways.http.problems import TooManyStreams
from moorage.runtime import AdmissionClosed

ME, YOU = Principal(key="me"), Principal(key="you")


def state(**limits):
    return GatewayState(None, None, HttpLimits(**limits), {})


def test_what_waits_is_counted_for_each_client_and_together():
    counting = state(streams_max=3, streams_per_client_max=2)
    scope = trio.CancelScope()
    with counting.waiting(ME, scope), counting.waiting(ME, scope):
        with pytest.raises(TooManyStreams, match="you have 2"), counting.waiting(ME, scope):
            pass
        with counting.waiting(YOU, scope):
            assert counting.streams == 3
            with pytest.raises(TooManyStreams, match="there are 3"), counting.waiting(YOU, scope):
                pass

    assert counting.streams == 0


def test_the_end_ends_what_waits_and_what_begins_to():
    ending = state()
    before, after = trio.CancelScope(), trio.CancelScope()
    with ending.waiting(ME, before):
        ending.end()
        with ending.waiting(ME, after):
            pass

    assert before.cancel_called
    assert after.cancel_called


def test_while_draining_nothing_new_is_admitted():
    draining = state()
    draining.check_admission()
    draining.draining = True

    with pytest.raises(AdmissionClosed):
        draining.check_admission()
