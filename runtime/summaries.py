"""What a session is recognised by in a listing, unless it was given a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .events import Data

SUMMARY_CHARS_MAX = 80


def first_words(input: Data) -> str | None:
    """A line to recognise a session by, from its first input, or None."""
    text = input
    if isinstance(text, dict):
        text = next(
            (text[name] for name in ("prompt", "content", "text", "messages") if name in text), None
        )
    if isinstance(text, list) and text and isinstance(text[0], dict):
        text = text[0].get("content")
    if not isinstance(text, str):
        return None
    words = " ".join(text[: 8 * SUMMARY_CHARS_MAX].split())
    if not words:
        return None
    return words if len(words) <= SUMMARY_CHARS_MAX else words[: SUMMARY_CHARS_MAX - 1] + "…"
