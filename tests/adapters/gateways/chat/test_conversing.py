from __future__ import annotations

import json

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.agents.scripted import Fail, IgnoreCancel, Say, Wait
from moorage.adapters.gateways.chat.keyboard import Key
from moorage.runtime import RunState
from moorage.stores import MemoryStore

FOREVER = ScriptedAgent([Say("begun "), Wait(10_000), Say("ended")])


async def test_what_is_typed_is_answered_word_by_word(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("hello you", until="You said: hello you\n(")
        await talk.say("more", until="You said: more\n(")

    assert talk.person.prompts[:2] == ["you> ", ""]


async def test_what_the_command_line_says_comes_first(autojump_clock, talking):
    async with talking(first="hello") as talk:
        assert await talk.expect("You said: hello") == "you> hello\n"


async def test_blank_lines_say_nothing(autojump_clock, talking):
    async with talking() as talk:
        talk.person.type("  ")
        await talk.say("hello", until="You said: hello\n(")

        assert (await talk.session.info()).runs == {"completed": 1}


async def test_what_is_typed_meanwhile_reaches_the_run_on_its_way(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("slow start", until="You ")
        await talk.say("faster", until="(given to the run on its way)\n(told: faster)")
        await talk.expect("And on the way: faster\n(")

        assert (await talk.session.info()).runs == {"completed": 1}


async def test_what_a_run_does_not_take_has_its_turn_behind_it(autojump_clock, talking):
    agent = ScriptedAgent([Say("so"), Wait(5), Say("it is")])
    async with talking(agent) as talk:
        await talk.say("first", until="so")
        await talk.say("second", until="(queued: it has its turn when this run has ended)")
        between = await talk.expect("> second\n")
        await talk.expect("soit is")
        await talk.expect("(")

        assert "it is" in between
        assert (await talk.session.info()).runs == {"completed": 2}


async def test_ctrl_c_cancels_the_run_and_the_conversation_goes_on(autojump_clock, talking):
    async with talking(FOREVER) as talk:
        await talk.say("go", until="begun")

        assert talk.conversation.interrupt() is True
        await talk.expect("cancelled: cancelled with Ctrl-C")
        await talk.say("/status", until="1 cancelled")

    assert talk.conversation.situation.ended == {"cancelled": 1}


async def test_a_second_ctrl_c_means_to_leave(autojump_clock, talking):
    async with talking(ScriptedAgent([Say("begun "), IgnoreCancel(100)])) as talk:
        await talk.say("go", until="begun")

        assert talk.conversation.interrupt() is True
        await talk.expect("(cancelling; Ctrl-C again leaves)")
        await trio.sleep(50)
        assert talk.conversation.interrupt() is False


async def test_ctrl_c_where_nothing_runs_warns_and_soon_after_means_to_leave(
    autojump_clock, talking
):
    async with talking() as talk:
        await talk.say("/status", until="begun")

        assert talk.conversation.interrupt() is True
        await talk.expect("(Ctrl-C again leaves, and so does /quit)")
        assert talk.conversation.interrupt() is False


async def test_ctrl_c_typed_at_the_prompt_is_one_too(autojump_clock, talking):
    with pytest.raises(BaseExceptionGroup) as caught:
        async with talking() as talk:
            await talk.say(Key.INTERRUPT, until="(Ctrl-C again")
            talk.person.type(Key.INTERRUPT)
            await trio.sleep_forever()

    assert caught.group_contains(KeyboardInterrupt)


async def test_before_the_conversation_has_begun_ctrl_c_leaves(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("/quit", until="")
    assert talk.conversation.interrupt() is False


async def test_leaving_interrupts_what_runs_and_keeps_what_waits_its_turn(autojump_clock, talking):
    store = MemoryStore()
    async with talking(FOREVER, store=store) as talk:
        await talk.say("go", until="begun")
        await talk.say("later", until="(queued")

    async with talking(store=store) as talk:
        await talk.expect("said: later")

    assert "> later\n" in talk.shown


async def test_how_the_last_run_ended_is_shown_when_it_goes_on_after_that(autojump_clock, talking):
    store = MemoryStore()
    async with talking(FOREVER, store=store) as talk:
        await talk.say("go", until="begun")

    async with talking(store=store) as talk:
        await talk.expect("> go\nbegun \ninterrupted: the process stopped before the run ended")
        await talk.say("hello", until="You said: hello\n(")

    async with talking(store=store) as talk:
        await talk.say("/status", until="begun  ")

    assert "interrupted:" not in talk.shown


async def test_where_it_was_is_shown_when_it_goes_on(autojump_clock, talking):
    store = MemoryStore()
    async with talking(store=store) as talk:
        for word in ("one", "two", "three", "four"):
            await talk.say(word, until=f"You said: {word}\n(")

    async with talking(store=store) as talk:
        await talk.expect("You said: four\n")
        await talk.say("/status", until="4 completed")

    assert talk.shown.startswith("(/history shows 2 more messages)\n> two\nYou said: two\n> three")


async def test_a_session_whose_beginning_was_trimmed_goes_on(autojump_clock, talking):
    store = MemoryStore()
    async with talking(store=store) as talk:
        await talk.say("one", until="You said: one\n(")
        await talk.say("approve it", until="? may")
        status = await talk.session.status()
        assert await talk.session.trim(before=status.head_seq + 1) > 1

    async with talking(store=store) as talk:
        await talk.expect("? may count_words be used")
        await talk.say("/status", until="1 waiting")


@pytest.mark.parametrize(("change", "told"), [("close", "was closed"), ("pause", "was paused")])
async def test_a_session_that_takes_nothing_is_made_to(
    autojump_clock, talking, capsys, change, told
):
    store = MemoryStore()
    async with talking(store=store) as talk:
        await talk.say("/status", until="begun")
        await getattr(talk.session, change)()

    async with talking(store=store) as talk:
        await talk.say("hello", until="You said: hello")

    assert told in capsys.readouterr().err


async def test_a_session_that_is_closed_meanwhile_ends_the_conversation(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("hello", until="You said: hello\n(")
        await talk.session.close()
        await talk.expect("(the session was closed)")


async def test_what_is_refused_is_told_and_nothing_ends(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("/nonsense", until="there is no command /nonsense")
        await talk.say("hello", until="You said: hello")

    assert talk.conversation.failed


async def test_without_a_person_lines_are_taken_one_after_the_other(autojump_clock, talking):
    async with talking(interactive=False) as talk:
        for line in ("slow one", "two", "three"):
            talk.person.type(line)
        await talk.expect("You said: three")

    order = [talk.shown.index(f"You said: {word}") for word in ("slow one", "two", "three")]
    assert order == sorted(order)
    assert "told" not in talk.shown
    assert not talk.conversation.failed


async def test_without_a_person_the_last_run_is_waited_for(autojump_clock, talking):
    async with talking(interactive=False) as talk:
        talk.person.type("slow but sure")

    assert "You said: slow but sure" in talk.shown


async def test_a_run_that_fails_is_a_failure_of_the_conversation(autojump_clock, talking):
    async with talking(ScriptedAgent([Fail(message="no")]), interactive=False) as talk:
        talk.person.type("go")

    assert "failed: script_failed: no" in talk.shown
    assert talk.conversation.failed
    assert talk.conversation.situation.ended == {RunState.FAILED.value: 1}


async def test_options_of_the_session_go_with_every_message(autojump_clock, talking):
    agent = ScriptedAgent()
    async with talking(agent) as talk:
        await talk.say("one", until="(")
        await talk.say("/model big-1", until="big-1")
        await talk.say("two", until="\n(")
        await talk.say("/model", until="default")
        await talk.say("three", until="\n(")
        await trio.testing.wait_all_tasks_blocked()

    inputs = [request.input for request in agent.requests]
    assert inputs == ["one", {"prompt": "two", "options": {"model": "big-1"}}, "three"]


async def test_everything_is_written_to_a_log_too(talking, tmp_path):
    path = tmp_path / "{session_id}.jsonl"
    async with talking(log=path) as talk:
        await talk.say("hello", until="You said: hello\n(")
        session = talk.session
        events = await session.events()

    written = (tmp_path / f"{session.id}.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in written] == [event.seq for event in events]


async def test_a_log_that_cannot_be_written_is_told_once(talking, tmp_path):
    path = tmp_path / "letter"
    path.write_text("Dear Ada\n")
    async with talking(log=path) as talk:
        await talk.expect("nothing more is written to")
        await talk.say("hello", until="You said: hello\n(")

    assert path.read_text() == "Dear Ada\n"
