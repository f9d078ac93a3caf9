from __future__ import annotations

import json

import pytest
from moorage.adapters.agents.context_window import (
    GaugeCache,
    TokenGauge,
    message_characters,
    message_tokens,
)
from moorage.adapters.agents.context_window.estimating import IMAGE_CHARACTERS, payload_characters
from moorage.runtime.messages import Message, text_message, tool_call_block, tool_result_block


@pytest.mark.parametrize(
    "value", ["text", 7, 1.5, None, True, [1, 2], {"a": "b"}, {"a": [{"b": [1, "c"]}]}, [], {}]
)
def test_payloads_count_about_as_they_would_in_json(value):
    assert abs(payload_characters(value) - len(json.dumps(value))) <= 4


def test_bytes_count_as_base64():
    assert payload_characters(b"1234") == 8


def test_every_kind_of_block_counts():
    blocks = [
        {"type": "text", "text": "12345"},
        {"type": "thinking", "text": "123"},
        {"type": "image", "media_type": "image/png", "data": b"x" * 100_000},
        tool_call_block("c1", "look", "12345678"),
        tool_result_block("c1", "look", "1234567"),
    ]

    sizes = [message_characters(Message("user", [block])) for block in blocks]

    assert sizes == [5, 3, IMAGE_CHARACTERS, 12, 7]
    assert message_characters(Message("user", blocks)) == sum(sizes)


def test_four_characters_are_about_one_token():
    assert message_tokens(text_message("user", "x" * 400)) == 104
    assert message_tokens(text_message("user", "x")) == 5


def test_what_the_provider_counted_corrects_the_estimates_to_come():
    gauge = TokenGauge()
    first, second = text_message("user", "x" * 400), text_message("user", "x" * 40)

    gauge.report(1_104, [first])

    assert gauge.tokens([first]) == 1_104
    assert gauge.tokens([first, second]) == 1_104 + message_tokens(second)
    gauge.report(60, [first])
    assert gauge.tokens([first]) == 60
    gauge.report(0, [first])
    assert gauge.tokens([first]) == 52
    assert gauge.tokens([]) == 0


def test_each_session_has_a_gauge_of_its_own_while_it_is_used():
    gauges = GaugeCache(sessions_max=2)

    first = gauges.of("a", overhead=7)
    first.report(1_000, [])
    gauges.of("b", overhead=5)

    assert gauges.of("a", overhead=7) is first
    assert gauges.of("b", overhead=7).overhead == 5
    gauges.of("c", overhead=1)
    assert gauges.of("a", overhead=7).overhead == 7
