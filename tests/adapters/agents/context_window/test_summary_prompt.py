from __future__ import annotations

from moorage.adapters.agents.context_window import summary_prompt
from moorage.adapters.agents.context_window.summary_prompt import OUTPUT_CHARACTERS_MAX
from moorage.runtime.messages import Message, text_message, tool_call_block, tool_result_block

MESSAGES = [
    Message(
        "user",
        [
            {"type": "text", "text": "look at this"},
            {"type": "image", "media_type": "image/png", "data": b"x" * 10_000},
        ],
    ),
    Message(
        "assistant",
        [{"type": "thinking", "text": "hm"}, tool_call_block("c1", "look", {"at": "é"})],
    ),
    Message("tool", [tool_result_block("c1", "look", "x" * 10_000, is_error=True)]),
    text_message("assistant", "a cat"),
]


def test_a_prompt_has_what_was_said_and_done():
    prompt = summary_prompt(MESSAGES)

    assert "user: look at this" in prompt
    assert "[an image, image/png]" in prompt
    assert 'call of look: {"at": "é"}' in prompt
    assert "result of look (error): xxx" in prompt
    assert prompt.index("assistant: a cat") < prompt.index("</conversation>")
    assert "<summary>" not in prompt
    assert "hm" not in prompt.partition("<conversation>")[2]


def test_outputs_are_shortened():
    assert len(summary_prompt(MESSAGES)) < OUTPUT_CHARACTERS_MAX + 1_500


def test_an_earlier_summary_is_to_be_updated():
    prompt = summary_prompt(MESSAGES, "they met")

    assert "<summary>\nthey met\n</summary>" in prompt
    assert "one summary of both" in prompt
