from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.durable_streams.cursors import INTERVAL_NS, next_cursor
from moorage.adapters.gateways.http.problems import MalformedRequest


def test_readers_of_one_interval_share_a_cursor_that_never_comes_back():
    assert next_cursor(5 * INTERVAL_NS, None) == next_cursor(6 * INTERVAL_NS - 1, None) == 5
    assert next_cursor(5 * INTERVAL_NS, "3") == 5
    assert next_cursor(5 * INTERVAL_NS, "5") == 6
    assert next_cursor(5 * INTERVAL_NS, "9") == 10


@pytest.mark.parametrize("text", ["", "x", "-1", "1" * 19, "\uff11"])
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(MalformedRequest, match="Stream-Cursor"):
        next_cursor(0, text)
