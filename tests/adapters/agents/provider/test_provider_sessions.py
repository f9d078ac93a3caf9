from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.provider.failures import ContinuationLost
from moorage.adapters.agents.provider.provider_sessions import (
    Fresh,
    Native,
    ProviderHandle,
    Replay,
    choose_continuation,
    forget_handle,
    keep_handle,
    read_handle,
    report_fallback,
    save_handle,
    without_native,
)
from moorage.adapters.agents.provider.settings import AgentSettings
from moorage.adapters.agents.recording import RecordingContext
from moorage.runtime.errors import InvalidArgument

from tests.runtime.talks import Talk, lines


def choose(mode, handle, talk, **more):
    return choose_continuation(
        AgentSettings(continuation=mode),
        handle,
        talk.transcript,
        provider="codex",
        run_id="now",
        **more,
    )


def known(talk, **more):
    """A handle of a session that knows all that was said so far."""
    return ProviderHandle("codex", "thread-1", talk.seq, **more)


MODES = ("none", "replay", "native", "auto", None)


@pytest.mark.parametrize("mode", MODES)
def test_the_first_run_begins_afresh(mode):
    talk = Talk().start("now", "hello")

    assert choose(mode, None, talk) == Fresh()


@pytest.mark.parametrize(
    ("mode", "kind"), [("none", Fresh), ("replay", Replay), ("native", Native), ("auto", Native)]
)
def test_a_session_that_knows_everything_is_continued_as_the_settings_say(mode, kind):
    talk = Talk().turn("before", "q", "a")
    handle = known(talk)
    talk.start("now", "next")

    chosen = choose(mode, handle, talk)

    assert type(chosen) is kind
    if kind is Native:
        assert chosen == Native(handle)
    if kind is Replay:
        assert (lines(chosen.messages), chosen.fallback) == (["u:q", "a:a"], None)


def test_what_the_run_itself_has_said_is_no_news_and_is_replayed():
    talk = Talk().turn("before", "q", "a")
    handle = known(talk)
    talk.start("now", "next").sent("now", "next").received("now", "", "c1").returned("now", "c1")

    assert choose("auto", handle, talk) == Native(handle)
    assert lines(choose("replay", handle, talk).messages) == [
        "u:q",
        "a:a",
        "u:next",
        "a:c1?",
        "t:c1=seen",
    ]


def lost_handles():
    talk = Talk().turn("before", "q", "a")
    yield "no session of codex is recorded", None, talk
    yield "it is kept on north, and this is south", known(talk, host="north"), talk
    talk = Talk().turn("before", "q", "a")
    handle = known(talk)
    yield "it does not know of 2 messages since seq", handle, talk.turn("other", "q2", "a2")
    talk = Talk().turn("before", "q", "a")
    middle = talk.seq
    talk.turn("after", "q2", "a2")
    handle = known(talk)
    yield "left by a restore", handle, talk.add("session_restored", to_seq=middle)


@pytest.mark.parametrize(("reason", "handle", "talk"), list(lost_handles()))
def test_where_the_session_cannot_be_continued_auto_replays_and_native_raises(reason, handle, talk):
    talk.start("now", "next")

    chosen = choose("auto", handle, talk, host="south")
    with pytest.raises(ContinuationLost) as caught:
        choose("native", handle, talk, host="south")

    assert isinstance(chosen, Replay)
    assert reason in chosen.fallback
    assert reason in str(caught.value)
    assert lines(chosen.messages)[:2] == ["u:q", "a:a"]


def test_a_session_that_knows_nothing_of_a_branch_before_it_can_be_continued_after_a_restore():
    talk = Talk().turn("before", "q", "a")
    handle = known(talk)
    talk.turn("after", "q2", "a2").add("session_restored", to_seq=handle.seq).start("now", "next")

    assert choose("auto", handle, talk) == Native(handle)


@pytest.mark.parametrize("mode", MODES)
def test_after_a_clear_there_is_nothing_to_continue(mode):
    talk = Talk().turn("before", "q", "a")
    handle = known(talk)
    talk.add("conversation_cleared").start("now", "next")

    assert choose(mode, handle, talk) == Fresh()


def test_a_session_that_only_the_provider_knows_to_be_gone():
    talk = Talk().turn("before", "q", "a")

    chosen = without_native(
        AgentSettings(), talk.transcript, "no such thread", provider="codex", run_id="now"
    )

    assert chosen.fallback == "no such thread"


async def test_a_handle_is_kept_in_the_sessions_metadata():
    context = RecordingContext()
    await context.emit("message_sent", {"role": "user", "content": "hi"})

    saved = await save_handle(context, "codex", "thread-1", host="north")

    assert saved == ProviderHandle("codex", "thread-1", 1, "north")
    assert await read_handle(context, "codex") == saved
    assert await read_handle(context, "claude") is None
    assert (await context.session.info()).metadata == {
        "provider_session.codex": {"id": "thread-1", "seq": 1, "host": "north"}
    }


async def test_a_handle_can_be_forgotten():
    context = RecordingContext()
    await save_handle(context, "codex", "thread-1")

    await forget_handle(context, "codex")

    assert await read_handle(context, "codex") is None


@pytest.mark.parametrize("value", ["thread-1", {}, {"id": 1, "seq": 1}, {"id": "a", "seq": "1"}])
async def test_a_handle_that_cannot_be_read_is_none(value):
    context = RecordingContext(session_metadata={"provider_session.codex": value})

    assert await read_handle(context, "codex") is None


async def test_an_empty_id_is_refused_and_nothing_is_kept():
    context = RecordingContext()

    with pytest.raises(InvalidArgument):
        await save_handle(context, "codex", "")

    assert (await context.session.info()).metadata == {}


async def test_a_fallback_is_reported_and_nothing_else():
    context = RecordingContext()

    for chosen in (Fresh(), Replay([]), Replay([], "no such thread")):
        await report_fallback(context, chosen, "codex")

    (event,) = context.events
    assert (event.type, event.data["code"]) == ("error_recovered", "continuation_fallback")
    assert event.data["message"] == "the log is replayed to codex: no such thread"


def begun(talk, run_id):
    """A handle that was recorded when a run began, and knows what that says too."""
    return ProviderHandle("codex", "thread-1", talk.seq, run_id=run_id)


@pytest.mark.parametrize("end", ["run_interrupted", "run_cancelled", "run_failed"])
def test_a_session_recorded_at_the_beginning_of_a_run_is_continued_however_that_ended(end):
    talk = Talk().start("before", "q")
    handle = begun(talk, "before")
    talk.sent("before", "q").streamed("before", "half an ans").add(end, "before")
    talk.start("now", "next")

    assert choose("native", handle, talk) == Native(handle)


def test_the_same_run_continues_the_session_that_it_began_in_an_earlier_attempt():
    talk = Talk().start("now", "next")
    handle = begun(talk, "now")
    talk.sent("now", "next").again("now")

    assert choose("native", handle, talk) == Native(handle)


def lost_beginnings():
    talk = Talk().start("before", "q")
    yield "run before is using it", begun(talk, "before"), talk.sent("before", "q")
    talk = Talk().start("before", "q")
    handle = begun(talk, "before")
    yield (
        "it does not know of 2 messages",
        handle,
        talk.completed("before").turn("other", "q2", "a2"),
    )
    talk = Talk().start("before", "q")
    handle = begun(talk, "before")
    talk.sent("before", "q").received("before", "a").completed("before")
    restored = talk.add("session_restored", to_seq=handle.seq + 1)
    yield "may have been left by a restore", handle, restored


@pytest.mark.parametrize(("reason", "handle", "talk"), list(lost_beginnings()))
def test_what_a_run_has_begun_is_not_continued_where_it_may_know_too_much_or_too_little(
    reason, handle, talk
):
    talk.start("now", "next")

    chosen = choose("auto", handle, talk)

    assert not isinstance(chosen, Native)
    if isinstance(chosen, Replay):
        assert reason in chosen.fallback


async def test_a_handle_of_a_run_that_goes_on_names_it():
    context = RecordingContext(run_id="mine")

    saved = await save_handle(context, "codex", "thread-1", goes_on=True)

    assert saved == ProviderHandle("codex", "thread-1", 0, run_id="mine")
    assert await read_handle(context, "codex") == saved


async def test_a_run_that_is_cancelled_can_still_record_its_session():
    context = RecordingContext(run_id="mine")

    with trio.CancelScope() as scope:
        scope.cancel()
        await keep_handle(context, "codex", "thread-1", host="here")

    assert await read_handle(context, "codex") == ProviderHandle(
        "codex", "thread-1", 0, "here", "mine"
    )


async def test_what_cannot_be_recorded_in_time_or_at_all_does_not_hide_how_the_run_ends(
    autojump_clock,
):
    async def never():
        await trio.sleep_forever()

    async def broken():
        raise InvalidArgument("the log is gone")

    for flush in (never, broken):
        context = RecordingContext()
        context.flush = flush
        with trio.fail_after(60):
            await keep_handle(context, "codex", "thread-1")

        assert await read_handle(context, "codex") is None
