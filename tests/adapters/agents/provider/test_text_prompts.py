from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.provider.text_prompts import (
    TextPrompt,
    instructed,
    text_prompt,
    transcript_text,
)
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.messages import Message, text_block

IMAGE: dict[str, Any] = {"type": "image", "media_type": "image/png", "data": b"\x00"}


def says(role: Any, *content: Any) -> Message:
    return Message(role, [text_block(c) if isinstance(c, str) else c for c in content])


def test_what_is_asked_alone_is_its_text() -> None:
    prompt = text_prompt((), [says("system", "Be brief."), says("user", "See", IMAGE)])

    assert prompt == TextPrompt("See", (IMAGE,), "Be brief.")


def test_what_was_said_before_comes_in_front() -> None:
    earlier = [says("user", "Who are you?"), says("assistant", "Ada")]

    prompt = text_prompt(earlier, [says("user", "Again?")])

    head, _, rest = prompt.text.partition("<conversation>\n")
    assert "took place before" in head
    assert rest == "user: Who are you?\nassistant: Ada\n</conversation>\n\nAgain?"


def test_a_conversation_in_the_input_is_told_up_to_its_last_question() -> None:
    said = [says("user", "One"), says("assistant", "1"), says("user", "Two"), says("user", "Three")]

    prompt = text_prompt((), said)

    assert "user: One\nassistant: 1\n</conversation>" in prompt.text
    assert prompt.text.endswith("\n\nTwo\n\nThree")


@pytest.mark.parametrize(
    "said", [[], [says("assistant", "x")], [says("system", "x")], [Message("user", [])]]
)
def test_without_a_question_there_is_no_prompt(said: list[Message]) -> None:
    with pytest.raises(InvalidArgument, match="only users ask"):
        text_prompt((), said)


def test_calls_and_results_are_told_and_thoughts_are_not() -> None:
    call = {"type": "tool_call", "tool_call_id": "c", "tool_name": "ls", "tool_input": {"p": "."}}
    result = {"type": "tool_result", "tool_call_id": "c", "tool_name": "ls", "tool_output": "a"}
    failed = {**result, "tool_output": ["x"], "is_error": True}

    told = transcript_text(
        [
            says("assistant", {"type": "thinking", "text": "hm"}, "I look.", call),
            says("tool", result),
            says("tool", failed),
            says("user", IMAGE),
            says("assistant", {"type": "thinking", "text": "only this"}),
        ]
    )

    assert told.partition("<conversation>\n")[2] == (
        'assistant: I look.\n(called ls: {"p": "."})\n'
        "tool: (ls gave: a)\n"
        'tool: (ls failed: ["x"])\n'
        "user: (an image, image/png)\n"
        "</conversation>"
    )


def test_instructions_stand_in_front_if_there_are_any() -> None:
    prompt = TextPrompt("Hi")

    assert instructed(prompt, "Be brief.", None, "Be kind.").text == (
        "<instructions>\nBe brief.\n\nBe kind.\n</instructions>\n\nHi"
    )
    assert instructed(prompt, None, "") is prompt
