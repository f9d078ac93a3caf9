from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.context_window import (
    ContextWindow,
    TokenGauge,
    message_tokens,
    open_compactor,
)
from moorage.adapters.agents.context_window.estimating import CHARACTERS_PER_TOKEN
from moorage.adapters.agents.provider.failures import ContextOverflow, RateLimited
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime import open_supervisor
from moorage.runtime.messages import text_message
from moorage.stores import MemoryStore


class Summariser:
    """Keeps the facts: every word in capitals. ``gate`` makes it wait, ``error`` fail."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], str | None]] = []
        self.gate: trio.Event | None = None
        self.error: Exception | None = None
        self.answer: str | None = None

    async def __call__(self, messages, previous):
        self.asked.append(([message.text for message in messages], previous))
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if self.answer is not None:
            return self.answer
        words = [*(previous or "").split(), *(w for m in messages for w in m.text.split())]
        return " ".join(dict.fromkeys(word for word in words if word.isupper())) or "nothing"


WINDOW = ContextWindow(tokens_max=200, keep_recent_tokens=60)
"""A message of 100 characters has 29 tokens: 160 and more are compacted, 190 and more at once."""


async def say(context, *texts: str) -> None:
    for text in texts:
        await context.emit("message_sent", {"role": "user", "content": f"{text:<100}"})


def types(context) -> list[str]:
    return [event.type for event in context.events]


def texts(messages) -> list[str]:
    return [message.text.strip() for message in messages]


@pytest.fixture
def context():
    return RecordingContext()


@pytest.fixture
def summariser():
    return Summariser()


async def test_below_the_thresholds_everything_is_asked(context, summariser):
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, *"abcde")

        assert texts(await compactor.context()) == [*"abcde"]

    assert summariser.asked == []


async def test_past_the_first_threshold_a_summary_is_made_beside(context, summariser):
    summariser.gate = trio.Event()
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, "FACT", *"bcdef")

        during = await compactor.context()
        await trio.testing.wait_all_tasks_blocked()
        again = await compactor.context()
        summariser.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        after = await compactor.context()

    assert texts(during) == texts(again) == ["FACT", *"bcdef"]
    assert len(summariser.asked) == 1
    assert after[0].is_summary
    assert after[0].text.endswith("FACT")
    assert texts(after[1:]) == ["e", "f"]


async def test_past_the_second_threshold_it_is_waited_for(context, summariser):
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, "FACT", *"bcdefgh")

        asked = await compactor.context()

    data = context.events[-1].data
    assert texts(asked[1:]) == ["g", "h"]
    assert asked[0].text.endswith("FACT")
    assert types(context)[-1] == "context_compacted"
    assert data["first_kept_seq"] == 7
    assert (data["tokens_before"], data["tokens_after"]) == (8 * 29, 2 * 29 + 1)


async def test_past_the_second_threshold_a_summary_in_the_making_is_waited_for(
    context, summariser, nursery
):
    summariser.gate = trio.Event()
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, "FACT", *"bcdef")
        await compactor.context()
        await say(context, "g", "h")
        asked: list[object] = []

        async def ask():
            asked.extend(texts(await compactor.context()))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        waited = not asked
        summariser.gate.set()
        await trio.testing.wait_all_tasks_blocked()

    assert waited
    assert asked[1:] == [*"efgh"]
    assert len(summariser.asked) == 1


async def test_the_next_summary_has_the_earlier_one(context, summariser):
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, "FACT", *"bcdefgh")
        await compactor.context()
        await say(context, "OTHER", *"jklm")
        asked = await compactor.context()

    assert summariser.asked[1][1] == "FACT"
    assert asked[0].text.endswith("FACT OTHER")


@pytest.mark.parametrize("answer", [None, "  "])
async def test_a_summary_that_cannot_be_made_is_told_and_fails_nothing(context, summariser, answer):
    summariser.answer = answer
    summariser.error = None if answer else RateLimited("slow down", provider="p")
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, *"abcdef")
        await compactor.context()
        await trio.testing.wait_all_tasks_blocked()
        await compactor.context()  # not tried again while there is room
        await say(context, "g")
        asked = await compactor.context()

    told = [event.data for event in context.events if event.type == "error_occurred"]
    assert [data["code"] for data in told] == ["compaction_failed"] * 2
    assert texts(asked) == [*"bcdefg"]
    assert len(summariser.asked) == 2


async def test_what_is_longer_than_a_request_may_be_is_summed_up_in_several(context, summariser):
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, *(f"FACT{number}" for number in range(20)))

        messages = await compactor.context()

    portions = [[text_message("user", text) for text in said] for said, _ in summariser.asked]
    asked = [sum(map(message_tokens, portion)) for portion in portions]
    assert len(asked) == 3
    assert max(asked) <= WINDOW.tokens_max
    assert [previous is None for _, previous in summariser.asked] == [True, False, False]
    assert [word for word in messages[0].text.split() if word.startswith("FACT")] == [
        f"FACT{number}" for number in range(18)
    ]
    assert types(context).count("context_compacted") == 1


@pytest.mark.parametrize("overhead", [0, 60])
async def test_all_that_a_request_for_a_summary_has_is_under_the_limit(
    context, summariser, overhead
):
    summariser.answer = "x" * 1_000  # of which a fourth of the window is kept
    async with open_compactor(context, WINDOW, summariser, summary_overhead=overhead) as compactor:
        await say(context, *(f"FACT{number}" for number in range(20)))

        await compactor.context()

    asked = [
        overhead
        + sum(message_tokens(text_message("user", text)) for text in said)
        + len(previous or "") // CHARACTERS_PER_TOKEN
        for said, previous in summariser.asked
    ]
    assert max(asked) <= WINDOW.tokens_max
    assert [text.strip() for said, _ in summariser.asked for text in said] == [
        f"FACT{number}" for number in range(18)
    ]


async def test_a_message_that_is_too_long_for_a_summary_is_summed_up_alone(context, summariser):
    async with open_compactor(context, WINDOW, summariser, summary_overhead=190) as compactor:
        await say(context, *"abcdefgh")

        await compactor.context()

    assert [said for said, _ in summariser.asked] == [[f"{text:<100}"] for text in "abcdef"]


async def test_what_is_not_shown_is_not_there(context, summariser):
    async with open_compactor(
        context, WINDOW, summariser, shown=lambda messages: messages[-1:]
    ) as compactor:
        await say(context, *"abcdefghij")

        assert texts(await compactor.context()) == ["j"]

    assert summariser.asked == []


async def test_a_summary_takes_only_a_part_of_the_window(context, summariser):
    summariser.answer = "x" * 10_000
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, *"abcdefgh")

        asked = await compactor.context()

    assert TokenGauge().tokens(asked) <= 200
    assert len(context.events[-1].data["summary"]) == 200


async def test_without_a_summariser_the_oldest_are_left_out(context):
    async with open_compactor(context, WINDOW) as compactor:
        await say(context, *"abcdefgh")

        assert texts(await compactor.context()) == [*"cdefgh"]


async def test_an_exception_of_the_block_comes_out_bare_and_ends_the_summary(context, summariser):
    summariser.gate = trio.Event()

    with pytest.raises(RateLimited):
        async with open_compactor(context, WINDOW, summariser) as compactor:
            await say(context, *"abcdef")
            await compactor.context()
            raise RateLimited("slow down", provider="p")

    assert "context_compacted" not in types(context)


@pytest.mark.parametrize(("seconds", "made"), [(5, True), (20, False)])
async def test_leaving_waits_some_time_for_a_summary(context, autojump_clock, seconds, made):
    async def slow(messages, previous):
        await trio.sleep(seconds)
        return "slow"

    window = ContextWindow(tokens_max=200, finish_seconds=10)
    async with open_compactor(context, window, slow) as compactor:
        await say(context, *"abcdef")
        await compactor.context()

    assert ("context_compacted" in types(context)) is made
    assert trio.current_time() == min(seconds, 10)


# ---- overflow ----


class Provider:
    """Refuses requests of more than ``tokens_max`` real tokens, which are 3 characters each."""

    def __init__(self, tokens_max: int) -> None:
        self.tokens_max = tokens_max
        self.requests: list[list[str]] = []

    async def __call__(self, messages):
        await trio.lowlevel.checkpoint()
        self.requests.append(texts(messages))
        if sum(len(message.text) for message in messages) / 3 > self.tokens_max:
            raise ContextOverflow("prompt is too long", provider="p")
        return "an answer"


async def test_an_overflow_is_compacted_and_asked_once_more(context, summariser):
    provider = Provider(120)
    async with open_compactor(context, ContextWindow(), summariser) as compactor:
        await say(context, "FACT", *"bcde")

        answer = await compactor.ask(provider)

    assert answer == "an answer"
    assert [len(request) for request in provider.requests] == [5, 2]
    assert provider.requests[1][0].endswith("FACT")
    assert types(context)[-2:] == ["context_compacted", "error_recovered"]
    assert context.events[-1].data["code"] == "context_overflow"


async def test_without_a_summariser_an_overflow_leaves_out_the_oldest(context):
    provider = Provider(150)
    async with open_compactor(context, ContextWindow(tokens_max=500)) as compactor:
        await say(context, *"abcde")

        await compactor.ask(provider)

    assert provider.requests == [[*"abcde"], [*"cde"]]


async def test_a_second_overflow_is_raised(context, summariser):
    provider = Provider(10)
    async with open_compactor(context, WINDOW, summariser) as compactor:
        await say(context, *"abcde")

        with pytest.raises(ContextOverflow, match="prompt is too long"):
            await compactor.ask(provider)

    assert len(provider.requests) == 2


async def test_a_single_message_is_not_summed_up(context, summariser):
    async with open_compactor(context, ContextWindow(tokens_max=30), summariser) as compactor:
        await say(context, "a")

        assert texts(await compactor.context()) == ["a"]

    assert summariser.asked == []


async def test_what_cannot_be_made_shorter_is_not_asked_again(context):
    provider = Provider(10)
    async with open_compactor(context, ContextWindow()) as compactor:
        await say(context, "a")

        with pytest.raises(ContextOverflow, match="what must be sent") as raised:
            await compactor.ask(provider)

    assert len(provider.requests) == 1
    assert "prompt is too long" in str(raised.value.__context__)


# ---- a long conversation ----


async def test_many_turns_stay_below_a_small_limit_and_remember_the_first(autojump_clock):
    requests: list[int] = []
    overflows = 0
    overhead = 50

    async def ask(messages):
        """A model: 3 characters are a token, and the system prompt has 50."""
        nonlocal overflows
        await trio.sleep(1)
        tokens = overhead + sum(message_tokens(m) * 4 // 3 for m in messages)
        if tokens > 400:
            overflows += 1
            raise ContextOverflow("too long", provider="p")
        requests.append(tokens)
        for message, after in zip(messages, [*messages[1:], None], strict=True):
            if message.tool_calls:
                assert after is not None
                assert after.tool_results[0]["tool_call_id"] == "c1"
        return tokens, "SECRET" if any("SECRET" in m.text for m in messages) else "forgotten"

    summariser, gauge = Summariser(), TokenGauge()

    async def agent(request, context):
        await context.emit("message_sent", {"role": "user", "content": request.input})
        window = ContextWindow(tokens_max=400, keep_recent_tokens=100)
        async with open_compactor(context, window, summariser, gauge=gauge) as compactor:
            call = {"tool_call_id": "c1", "tool_name": "look", "tool_input": {}}
            await context.emit("message_received", {"content": "", "tool_calls": [call]})
            output = {**call, "tool_output": "seen " * 20}
            await context.emit("tool_call_completed", output)
            tokens, answer = await compactor.ask(ask)
            compactor.report(tokens)
            await context.emit("message_received", {"content": answer})
        return {"content": answer}

    async with open_supervisor(MemoryStore(), agent) as supervisor:
        session = await supervisor.session("s")
        answers = [
            (await session.execute("SECRET is the word" if turn == 0 else f"turn {turn}")).output
            for turn in range(40)
        ]
        messages = await session.messages()
        compactions = await session.events(types={"context_compacted"}, limit=1_000)

    assert {answer["content"] for answer in answers} == {"SECRET"}
    assert max(requests) <= 400
    assert len(messages) == 160
    assert len(compactions) > 5
    assert overflows < 5


def test_the_tests_messages_have_the_size_that_they_say():
    assert message_tokens(text_message("user", f"{'a':<100}")) == 29
