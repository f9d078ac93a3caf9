from __future__ import annotations

import pytest
from moorage.runtime.summaries import SUMMARY_CHARS_MAX, first_words


@pytest.mark.parametrize(
    ("input", "summary"),
    [
        ("hello there", "hello there"),
        ("  several\n lines\tof text ", "several lines of text"),
        ({"prompt": "do it"}, "do it"),
        ({"content": "do it"}, "do it"),
        ({"messages": [{"role": "user", "content": "hi"}, {"content": "no"}]}, "hi"),
        ([{"content": "hi"}], "hi"),
        ({"other": "x"}, None),
        ({"messages": []}, None),
        ({"messages": ["bare"]}, None),
        ([{"content": 7}], None),
        ("   ", None),
        (7, None),
        (None, None),
        ("x" * SUMMARY_CHARS_MAX, "x" * SUMMARY_CHARS_MAX),
        ("x" * (SUMMARY_CHARS_MAX + 1), "x" * (SUMMARY_CHARS_MAX - 1) + "…"),
    ],
)
def test_a_session_is_recognised_by_its_first_words(input: object, summary: str | None) -> None:
    assert first_words(input) == summary
