from __future__ import annotations

import json

import pytest
from moorage.adapters.agents.model_api.arguments import (
    arguments_map,
    arguments_text,
    parsed_arguments,
)


def test_an_object_is_parsed_and_nothing_is_an_empty_one() -> None:
    assert parsed_arguments('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    assert parsed_arguments(" ") == {}


@pytest.mark.parametrize(
    "text", ['{"a": ', "[1]", "7", "nonsense", '{"a": NaN}', f'{{"a": [{2**64}]}}', "[" * 100_000]
)
def test_what_is_no_object_that_an_event_can_hold_stays_text(text: str) -> None:
    assert parsed_arguments(text) == text


@pytest.mark.parametrize(
    ("tool_input", "text"),
    [
        ('{"a": 1}', '{"a": 1}'),
        (f'{{"a": {2**64}}}', f'{{"a": {2**64}}}'),
        ({"ü": 1}, '{"ü":1}'),
        (" ", "{}"),
        (None, "{}"),
        ('{"a": ', '{"malformed_arguments":"{\\"a\\": "}'),
        ("[" * 100_000, None),
        ("[1]", '{"malformed_arguments":"[1]"}'),
        ([1], '{"malformed_arguments":[1]}'),
    ],
)
def test_what_goes_back_is_the_text_of_an_object(tool_input: object, text: str | None) -> None:
    sent = arguments_text(tool_input)

    assert text in (sent, None)
    assert isinstance(json.loads(sent), dict)


def test_apis_that_want_an_object_get_one() -> None:
    assert arguments_map({"a": 1}) == {"a": 1}
    assert arguments_map(None) == {}
    assert arguments_map('{"a": ') == {"malformed_arguments": '{"a": '}
