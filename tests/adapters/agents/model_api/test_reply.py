from __future__ import annotations

import pytest
from moorage.adapters.agents.model_api.reply import Pieces, Reply, cut_call

CALL = {"tool_call_id": "1", "tool_name": "add", "tool_input": {"a": 1}}


def reply(*blocks: dict[str, object], **facts: object) -> Reply:
    facts = {
        "stop_reason": "end",
        "original": {"provider": "p", "content": []},
        "usage": {},
    } | facts
    return Reply(blocks=blocks, **facts)  # type: ignore[arg-type]


def test_text_alone_is_recorded_as_content_without_blocks() -> None:
    data = reply({"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}).data()

    assert data == {
        "content": "Hello",
        "stop_reason": "end",
        "original": {"provider": "p", "content": []},
    }


def test_blocks_and_calls_are_recorded_where_there_are_any() -> None:
    blocks = [{"type": "thinking", "text": "hm"}, {"type": "tool_call", **CALL}]

    data = reply(*blocks, model="m", message_id="id").data()

    assert data["content"] == ""
    assert data["blocks"] == blocks
    assert data["tool_calls"] == [CALL]
    assert (data["model"], data["message_id"]) == ("m", "id")


def test_call_ids_that_were_used_before_or_are_missing_are_replaced() -> None:
    blocks = [{"type": "tool_call", **CALL}, {"type": "tool_call", **CALL | {"tool_call_id": ""}}]
    answer = reply(*blocks)

    ids = [call["tool_call_id"] for call in answer.with_new_ids({"1"}, "turn-2").tool_calls]

    assert ids == ["turn-2:0", "turn-2:1"]
    # the provider must not see an id in its own words that the results do not have
    assert answer.with_new_ids({"1"}, "turn-2").original == {}


def test_ids_that_are_new_stay_with_what_the_provider_said() -> None:
    answer = reply({"type": "tool_call", **CALL})

    assert answer.with_new_ids({"7"}, "turn-2") is answer


def test_neighbouring_pieces_of_one_kind_are_joined() -> None:
    pieces = Pieces()
    pieces.add("text", "a")
    pieces.add("text", "b")
    pieces.add("thinking", "c")
    pieces.event({"type": "x"})
    pieces.add("thinking", "d")

    assert pieces.take() == [
        ("text", "ab"),
        ("thinking", "c"),
        ("event", {"type": "x"}),
        ("thinking", "d"),
    ]


@pytest.mark.parametrize("reason", ["max_tokens", "length", "max_output_tokens"])
@pytest.mark.parametrize(
    ("tool_input", "found"), [({}, "b"), ('{"a": ', "b"), ({"a": 1}, None), ("[1]", "b")]
)
def test_a_call_that_an_answer_was_cut_off_in_is_known(
    reason: str, tool_input: object, found: str | None
) -> None:
    calls = [
        {"tool_call_id": "a", "tool_name": "add", "tool_input": {}},
        {"tool_call_id": "b", "tool_name": "add", "tool_input": tool_input},
    ]
    cut = {"stop_reason": reason, "tool_calls": calls}
    behind = {**cut, "blocks": [{"type": "tool_call"}, {"type": "text", "text": "And"}]}

    assert cut_call(cut) == found
    assert cut_call({**cut, "stop_reason": "tool_use"}) is None
    assert cut_call({"stop_reason": reason}) is None
    assert cut_call(behind) is None
