from __future__ import annotations

import re

import pytest
from moorage.adapters.gateways.chat import slash
from moorage.adapters.gateways.chat.places import DIRECTORY_TAG, here
from moorage.adapters.gateways.chat.typed import COMMANDS
from moorage.stores import MemoryStore


class SecondsAfter:
    """The module ``time``, at a moment that is so many seconds after another."""

    def __init__(self, seconds: int, then_ns: int) -> None:
        self._now_ns = then_ns + seconds * 1_000_000_000

    def time_ns(self) -> int:
        return self._now_ns


async def said(talk, *words: str) -> None:
    for word in words:
        await talk.say(word, until=f"You said: {word}\n(")


async def test_the_help_is_all_there_is_to_know(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("/help", until="with y, n, or a reason why not")

    assert all(f"/{name}" in talk.shown for name in COMMANDS)


async def test_the_status_says_what_runs(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("slow one", until="You")
        await talk.say("/status", until="begun")

    assert re.search(r"session +s\n", talk.shown)
    assert re.search(r"now +1 running\n", talk.shown)


async def test_the_history_is_what_was_said(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("/history", until="(nothing was said yet)")
        await said(talk, "one")
        talk.person.type("/history")

        assert await talk.expect("> one\nYou said: one\n") != ""


async def test_a_label_marks_a_place_and_tells_what_came_behind_it(autojump_clock, talking):
    async with talking() as talk:
        await talk.say("/labels", until="(there are no labels)")
        await said(talk, "one")
        await talk.say("/label here a nice place", until="(here is at ")
        await said(talk, "two")
        await talk.say("/labels", until="2 messages since  a nice place")
        (label,) = await talk.session.labels()

    assert (label.label, label.description) == ("here", "a nice place")


async def test_restoring_goes_back_to_a_checkpoint(autojump_clock, talking, monkeypatch):
    async with talking() as talk:
        await talk.say("/restore", until="(there are no checkpoints)")
        await said(talk, "one")
        await talk.say("/checkpoint before it went wrong", until="comes back here)")
        await said(talk, "two")
        (checkpoint,) = await talk.session.checkpoints()
        monkeypatch.setattr(slash, "time", SecondsAfter(7, checkpoint.time_ns))
        await talk.say("/restore", until=f"{checkpoint.checkpoint_id}  7 s ago  before it went")
        await talk.say(f"/restore {checkpoint.checkpoint_id}", until="(back where 2 messages")
        messages = [message.text for message in await talk.session.messages()]
        await talk.say("/restore nowhere", until="nowhere")

    assert messages == ["one", "You said: one"]


async def test_clearing_leaves_nothing_to_be_told(autojump_clock, talking):
    async with talking() as talk:
        await said(talk, "one")
        await talk.say("/clear", until="(what was said before is not told")

        assert await talk.session.messages() == []


async def test_a_fork_goes_on_in_a_session_of_its_own_and_resume_comes_back(
    autojump_clock, talking
):
    async with talking() as talk:
        await said(talk, "one")
        await talk.say("/fork", until="(in the new session ")
        id = await talk.expect("; /resume s goes back)")
        await said(talk, "two")
        forked = [message.text for message in await talk.session.messages()]
        await talk.say("/resume s", until="> one")
        await said(talk, "three")
        back = [message.text for message in await talk.session.messages()]

    assert talk.session.id == "s" != id
    assert forked == ["one", "You said: one", "two", "You said: two"]
    assert back == ["one", "You said: one", "three", "You said: three"]


async def test_a_fork_can_begin_earlier(autojump_clock, talking):
    async with talking() as talk:
        await said(talk, "one")
        seq = (await talk.session.info()).head_seq
        await said(talk, "two")
        await talk.say(f"/fork {seq}", until="goes back)")
        await said(talk, "three")
        forked = [message.text for message in await talk.session.messages()]
        await talk.say("/fork x", until="'x' is no seq")
        await talk.say("/fork 99999", until="99999")

    assert forked == ["one", "You said: one", "three", "You said: three"]


async def test_sessions_of_this_directory_can_be_listed_and_gone_on_with(
    autojump_clock, talking, monkeypatch
):
    async with talking() as talk:
        for id, directory in (("other", here()), ("far", "/elsewhere")):
            made = await talk.conversation.supervisor.session(id, tags={DIRECTORY_TAG: directory})
            if id == "other":
                changed_at_ns = (await made.info()).modified_at_ns
        monkeypatch.setattr(slash, "time", SecondsAfter(7, changed_at_ns))
        await talk.say("/resume", until="  other  7 s ago")
        await talk.say("/resume s", until="this is that session")
        await talk.say("/resume nowhere", until="nowhere")
        await talk.say("/resume far", until="")
        await said(talk, "hello")

        assert talk.session.id == "far"
    assert not re.search(r"far  \d", talk.shown)


@pytest.mark.parametrize("command", ["/clear", "/fork", "/restore x", "/resume x"])
async def test_what_would_tear_a_run_apart_waits_for_its_end(autojump_clock, talking, command):
    async with talking() as talk:
        await talk.say("slow one", until="You")
        await talk.say(command, until="has 1 running, 0 queued and 0 waiting runs")


async def test_the_model_is_remembered_by_the_session(autojump_clock, talking):
    store = MemoryStore()
    async with talking(store=store) as talk:
        await talk.say("/model big-1", until="(from now on with big-1)")
    async with talking(store=store) as talk:
        await talk.say("/status", until="model    big-1")
        await talk.say("/model", until="(from now on with the default model)")
    async with talking(store=store) as talk:
        await talk.say("/status", until="begun")

        assert talk.conversation.options == {}


async def test_quitting_leaves(autojump_clock, talking):
    async with talking() as talk:
        talk.person.type("/quit")
        talk.person.type("never read")

    assert "never read" not in talk.shown
