from __future__ import annotations

from typing import Any

from moorage.adapters.sinks import renderer
from moorage.runtime import Event


def event(type: str, data: Any, run_id: str | None = "r1") -> Event:
    return Event("a", 1, 1, type, run_id, data)


def said(*events: Event, raw: bool = True) -> str:
    rendering = renderer("text", raw=raw)
    return "".join(rendering.render([one]) for one in events) + rendering.finish()


def test_streamed_text_comes_once_and_nothing_else() -> None:
    text = said(
        event("run_submitted", {"input": "hello"}),
        event("message_streamed", {"delta": "Hel"}),
        event("message_streamed", {"delta": "", "thinking": "hm"}),
        event("message_streamed", {"delta": "lo"}),
        event("message_received", {"content": "Hello"}),
        event("tool_call_started", {"tool_name": "ls"}),
        event("message_received", {"content": "Done\n"}),
        event("run_completed", {"output": {"content": "HelloDone"}}),
    )

    assert text == "Hello\nDone\n"


def test_a_run_that_said_nothing_says_its_output() -> None:
    assert said(event("run_completed", {"output": {"content": "Hi"}})) == "Hi\n"
    assert said(event("run_completed", {"output": "Hi\n"})) == "Hi\n"
    assert said(event("run_completed", {"output": 7})) == ""
    assert said(event("run_failed", {"error": {"code": "x"}}), event("note", [1])) == ""


def test_runs_that_speak_at_once_do_not_share_a_line() -> None:
    text = said(
        event("message_streamed", {"delta": "one"}, "r1"),
        event("message_streamed", {"delta": "two"}, "r2"),
        event("run_failed", {}, "r1"),
        event("message_streamed", {"delta": " more"}, "r2"),
    )

    assert text == "one\ntwo more\n"


def test_only_raw_text_has_what_a_terminal_acts_upon() -> None:
    red = event("message_streamed", {"delta": "\x1b[31mred\tone\nline"})

    assert said(red) == "\x1b[31mred\tone\nline\n"
    assert said(red, raw=False) == "\\x1b[31mred\tone\nline\n"
