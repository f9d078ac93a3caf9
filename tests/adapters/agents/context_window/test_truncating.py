from __future__ import annotations

import itertools
import random

import pytest
from moorage.adapters.agents.context_window import (
    ContextWindow,
    TokenGauge,
    message_characters,
    truncate,
)
from moorage.adapters.agents.context_window.truncating import OUTPUT_CHARACTERS_MIN, shortened
from moorage.adapters.agents.provider.failures import ContextOverflow
from moorage.runtime.messages import (
    Message,
    summary_block,
    text_message,
    tool_call_block,
    tool_result_block,
)


def talk(count: int, characters: int = 100) -> list[Message]:
    """Questions and answers in turn, the newest an answer or question, each of that length."""
    roles = itertools.cycle(["user", "assistant"])
    return [
        Message(role, text_message("user", f"{number:<{characters}}").blocks, seq=number)
        for number, role in zip(range(1, count + 1), roles, strict=False)
    ]


def seqs(messages: list[Message]) -> list[int]:
    return [message.seq for message in messages]


def calls(seq: int, *ids: str, output: object = "seen") -> list[Message]:
    """An assistant message that calls a tool under these ids, and the results."""
    blocks = [tool_call_block(id, "look", {}) for id in ids]
    results = [tool_result_block(id, "look", output) for id in ids]
    return [
        Message("assistant", blocks, seq=seq),
        *(Message("tool", [block], seq=seq + n) for n, block in enumerate(results, 1)),
    ]


def test_without_limits_nothing_is_left_out():
    assert truncate(talk(5), ContextWindow()) == talk(5)
    assert truncate([], ContextWindow(tokens_max=1)) == []


def test_characters_keep_the_newest_that_fit():
    kept = truncate(talk(10), ContextWindow(characters_max=350))

    assert seqs(kept) == [8, 9, 10]
    assert sum(map(message_characters, kept)) <= 350


def test_a_number_of_messages_keeps_the_newest():
    assert seqs(truncate(talk(5), ContextWindow(messages_max=2))) == [4, 5]


def test_tokens_count_with_what_the_provider_says_beside_the_messages():
    gauge = TokenGauge()
    messages = talk(10)  # 29 tokens each

    gauge.report(10 * 29 + 30, messages)

    assert seqs(truncate(messages, ContextWindow(tokens_max=90))) == [8, 9, 10]
    assert seqs(truncate(messages, ContextWindow(tokens_max=90), gauge=gauge)) == [9, 10]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"messages_max": 4, "characters_max": 250}, [9, 10]),
        ({"messages_max": 2, "characters_max": 900}, [9, 10]),
        ({"messages_max": 4, "tokens_max": 90}, [8, 9, 10]),
    ],
)
def test_of_several_limits_the_strictest_counts(limits, expected):
    assert seqs(truncate(talk(10), ContextWindow(**limits))) == expected


def test_a_call_is_never_parted_from_its_result():
    messages = [*talk(1), *calls(2, "a", "b"), text_message("assistant", "done")]

    for messages_max in range(1, 6):
        kept = truncate(messages, ContextWindow(messages_max=messages_max))
        results = [b["tool_call_id"] for m in kept for b in m.tool_results]
        assert results == [b["tool_call_id"] for m in kept for b in m.tool_calls]


def test_a_result_without_a_call_in_front_stays_where_it_is():
    orphan = Message("tool", [tool_result_block("x", "look", 1)], seq=1)

    assert truncate([orphan], ContextWindow(messages_max=1)) == [orphan]


def test_system_messages_summaries_and_the_last_question_are_always_kept():
    summary = Message("user", [summary_block("earlier", of="context")], seq=2)
    messages = [text_message("system", "be brief"), summary, *talk(3), *calls(10, "a")]

    kept = truncate(messages, ContextWindow(messages_max=1))

    assert [message.text for message in kept][:2] == ["be brief", summary.text]
    assert seqs(kept) == [0, 2, 3, 10, 11]


def test_of_a_huge_output_the_middle_is_left_out():
    output = "a" * 5_000_000 + "z" * 5_000_000
    messages = [*talk(1), *calls(2, "a", output=output), *talk(1)]

    kept = truncate(messages, ContextWindow(characters_max=4_000))

    told = kept[2].tool_results[0]["tool_output"]
    assert len(kept) == 4
    assert len(told) <= 1_000
    assert told.startswith("aaa")
    assert told.endswith("zzz")
    assert "characters left out" in told


def test_outputs_of_one_message_share_what_room_there_is():
    messages = [*talk(1), *calls(2, *"abcdefgh", output="x" * 4_000)]

    kept = truncate(messages, ContextWindow(tokens_max=1_000))

    assert len(kept) == 10
    assert sum(map(message_characters, kept)) <= 4_000


def test_what_cannot_be_made_to_fit_is_an_overflow():
    window = ContextWindow(characters_max=300)

    with pytest.raises(ContextOverflow, match="longer than the context window"):
        truncate([text_message("user", "x" * 301)], window)
    with pytest.raises(ContextOverflow):
        truncate([*talk(1), *calls(2, "a", "b", output="x" * 4_000)], window)


def test_a_shortened_message_is_not_given_back_as_it_was_sent():
    block = tool_result_block("a", "look", {"rows": ["x" * 50] * 50})
    message = Message("tool", [block], original={"provider": "p", "content": []})

    short = shortened(message, OUTPUT_CHARACTERS_MIN)

    assert len(short.tool_results[0]["tool_output"]) == OUTPUT_CHARACTERS_MIN
    assert short.original is None
    assert shortened(message, 10_000) is message


@pytest.mark.parametrize("seed", range(20))
def test_whatever_was_said_fits_and_is_paired(seed):
    rng = random.Random(seed)
    messages: list[Message] = []
    for turn in range(40):
        messages += [text_message("user", "q" * rng.randint(1, 300))]
        for _ in range(rng.randint(0, 3)):
            ids = [f"{turn}-{n}" for n in range(rng.randint(1, 3))]
            messages += calls(0, *ids, output="x" * rng.randint(0, 5_000))
        messages += [text_message("assistant", "a" * rng.randint(1, 300))]
        window = ContextWindow(characters_max=3_000)

        kept = truncate(messages, window)

        assert sum(map(message_characters, kept)) <= 3_000
        assert kept[-1].text == messages[-1].text
        results = [b["tool_call_id"] for m in kept for b in m.tool_results]
        assert results == [b["tool_call_id"] for m in kept for b in m.tool_calls]
