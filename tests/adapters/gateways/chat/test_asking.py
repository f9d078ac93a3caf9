from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Park, Return, Say
from moorage.adapters.gateways.chat.asking import ANSWER_PROMPT, APPROVAL_PROMPT
from moorage.stores import MemoryStore

BOTH_WAYS = pytest.mark.parametrize("words", ["approve it", "approve it on hold"])


@BOTH_WAYS
async def test_a_tools_request_is_put_to_the_person_and_yes_lets_it_run(
    autojump_clock, talking, words
):
    async with talking() as talk:
        await talk.say(words, until='? may count_words be used\n  {\n    "text"')
        await talk.say("y", until="approved by chat")
        await talk.expect(f"= {len(words.split())} words")
        await talk.expect("I counted")

    assert APPROVAL_PROMPT in talk.person.prompts
    assert talk.person.forgotten == 1


@BOTH_WAYS
@pytest.mark.parametrize(("answer", "reason"), [("n", "not allowed"), ("too dear", "too dear")])
async def test_anything_but_yes_keeps_the_tool_from_running(
    autojump_clock, talking, words, answer, reason
):
    async with talking() as talk:
        await talk.say(words, until="? may")
        await talk.say(answer, until="denied by chat")
        await talk.expect(f"I was not allowed to count: {reason}")

    assert "= " not in talk.shown


async def test_a_blank_line_is_no_answer(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("approve it", until="? may")
        talk.person.type("")
        await talk.say("y", until="I counted")


async def test_a_command_is_done_and_the_question_asked_again(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("approve it", until="? may")
        await talk.say("/status", until="1 waiting")
        await talk.expect("? may")
        await talk.say("y", until="I counted")


async def test_a_question_that_was_left_open_is_asked_in_the_next_conversation(
    autojump_clock, talking
):
    store = MemoryStore()
    async with talking(store=store) as talk:
        await talk.say("approve it", until="? may")

    async with talking(store=store) as talk:
        await talk.expect("? may count_words be used")
        await talk.say("y", until="I counted 2 words")


async def test_what_somebody_else_answers_first_is_not_asked_any_more(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("approve it", until="? may")
        question = talk.conversation.situation.question
        await talk.session.approve(question.request_id, by="ada")
        await talk.expect("approved by ada")
        await talk.expect("I counted")
        await trio.sleep(1)

        assert talk.person.prompts[-1] == "you> "


async def test_an_answer_that_comes_too_late_is_told(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("approve it", until="? may")
        question = talk.conversation.situation.question
        # both before anybody hears of the other
        talk.person.type("n")
        await talk.session.approve(question.request_id, by="ada")
        await talk.expect("(not accepted: it was answered before, or its time is over)")
        await talk.expect("I counted")


async def test_an_answer_that_cannot_be_recorded_is_told_and_can_be_given_again(
    autojump_clock, talking
):
    async with talking() as talk:
        await talk.say("approve it", until="? may")
        await talk.say("because " + "x" * 5_000, until="reason is 5008 bytes")
        await talk.expect("? may")
        await talk.say("y", until="I counted")


async def test_ctrl_c_at_a_question_cancels_its_run(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("approve it", until="? may")
        assert talk.conversation.interrupt() is True
        await talk.expect("cancelled: cancelled with Ctrl-C")
        await trio.sleep(1)
        await talk.say("hello", until="You said: hello")


async def test_what_another_agent_parks_for_is_answered_with_what_is_typed(autojump_clock, talking):
    def answered(request):
        return request.answers["color"]

    agent = ScriptedAgent([Park("color", "which one?"), Return(answered)])
    async with talking(agent) as talk:
        await talk.say("paint", until="? color\n  which one?\n")
        await talk.say("dark blue", until="dark blue\n(")

    assert ANSWER_PROMPT in talk.person.prompts


@pytest.mark.parametrize(
    ("typed", "value"),
    [("y", {"approved": True}), ("n no money", {"approved": False, "reason": "no money"})],
)
async def test_what_is_parked_as_an_approval_is_answered_like_one(
    autojump_clock, talking, typed, value
):
    answers = []
    agent = ScriptedAgent(
        [Park("approval"), Return(lambda request: answers.append(request.answers["approval"]))]
    )
    async with talking(agent) as talk:
        await talk.say("buy", until="? approval")
        talk.person.type(typed)
        await talk.expect("(")

    assert answers == [value]


async def test_without_a_person_requests_are_denied_with_the_reason(autojump_clock, talking):
    async with talking(interactive=False) as talk:
        talk.person.type("approve it")
        await talk.expect("denied by chat: nobody can be asked: standard input is no terminal")
        await talk.expect("I was not allowed")


@pytest.mark.parametrize("interactive", [False, True])
async def test_requests_are_approved_unasked_if_that_was_said_beforehand(
    autojump_clock, talking, interactive
):
    async with talking(interactive=interactive, approve_all=True) as talk:
        talk.person.type("approve it")
        await talk.expect("I counted 2 words")

    assert APPROVAL_PROMPT not in talk.person.prompts


async def test_without_a_person_a_run_that_asks_something_else_is_cancelled(
    autojump_clock, talking
):
    agent = ScriptedAgent([Say("now "), Park("color")])
    async with talking(agent, interactive=False) as talk:
        talk.person.type("paint")
        await talk.expect("the run asks 'color', and nobody can be asked")
        await talk.expect("cancelled: the run asks 'color'")

    assert talk.conversation.failed
