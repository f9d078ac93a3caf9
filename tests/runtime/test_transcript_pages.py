"""A transcript is read page by page, from a handle or from inside of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from moorage.runtime import transcript_pages
from moorage.runtime.errors import CursorExpired
from moorage.runtime.transcript_pages import TranscriptCache, read_transcript

from tests.runtime.talks import Talk, lines

if TYPE_CHECKING:
    from moorage.runtime.events import Event


class Pages:
    """Events in a list, those below ``oldest_seq`` gone; counts the pages that were asked for."""

    def __init__(self, events: list[Event], *, id: str = "s", oldest_seq: int = 1) -> None:
        self.id = id
        self.kept = events
        self.oldest_seq = oldest_seq
        self.asked: list[int] = []

    async def events(
        self, *, after: int = 0, limit: int = 100, types: set[str] | None = None
    ) -> list[Event]:
        self.asked.append(after)
        if after < self.oldest_seq - 1:
            raise CursorExpired("s", after=after, oldest_seq=self.oldest_seq)
        found = [event for event in self.kept if event.seq > after]
        return [event for event in found if types is None or event.type in types][:limit]


@pytest.fixture
def talk() -> Talk:
    return Talk().turn("a", "q1", "a1").add("provider_event").turn("b", "q2", "a2")


async def test_all_pages_are_read(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_pages, "PAGE_EVENTS", 3)
    pages = Pages(talk.events)

    transcript = await read_transcript(pages)

    assert transcript.state() == talk.transcript.state()
    assert pages.asked == [0, 3, 7, 10]


async def test_reading_goes_on_where_it_was(talk: Talk) -> None:
    pages = Pages(list(talk.events))
    transcript = await read_transcript(pages)
    pages.kept += talk.turn("c", "q3", "a3").events[len(pages.kept) :]

    same = await read_transcript(pages, transcript)

    assert same is transcript
    assert lines(transcript.messages())[-1] == "a:a3"
    assert pages.asked == [0, 11]


async def test_reading_until_a_seq_tells_what_was_then(talk: Talk) -> None:
    transcript = await read_transcript(Pages(talk.events), until=5)

    assert transcript.seq == 5
    assert lines(transcript.messages()) == ["u:q1", "a:a1"]


async def test_what_was_trimmed_away_is_not_told(talk: Talk) -> None:
    transcript = await read_transcript(Pages(talk.events, oldest_seq=7))

    assert lines(transcript.messages()) == ["u:q2", "a:a2"]


# ---- keeping transcripts ----


async def test_a_kept_transcript_reads_only_what_is_new(talk: Talk) -> None:
    pages, cache = Pages(list(talk.events)), TranscriptCache()
    await cache.read(pages)
    pages.kept += talk.turn("c", "q3", "a3").events[len(pages.kept) :]

    transcript = await cache.read(pages)

    assert lines(transcript.messages())[-1] == "a:a3"
    assert pages.asked == [0, 10, 11]


@pytest.mark.parametrize("other", ["another store", "trimmed", "shorter"])
async def test_what_is_kept_of_another_log_is_not_used(talk: Talk, other: str) -> None:
    cache = TranscriptCache()
    await cache.read(Pages(talk.events))
    stranger = Talk().turn("x", "q", "a").add("checkpoint_created").turn("y", "other", "a")
    pages = {
        "another store": Pages(stranger.events),
        "trimmed": Pages(talk.events, oldest_seq=12),
        "shorter": Pages(talk.events[:5]),
    }[other]

    transcript = await cache.read(pages)

    assert transcript.state() == (await read_transcript(pages)).state()


async def test_an_empty_transcript_is_read_again(talk: Talk) -> None:
    cache = TranscriptCache()
    await cache.read(Pages([]))

    assert lines((await cache.read(Pages(talk.events))).messages())[0] == "u:q1"


async def test_the_transcripts_that_were_read_last_are_kept(talk: Talk) -> None:
    cache = TranscriptCache(sessions_max=2)
    a, b, c = (Pages(talk.events, id=id) for id in "abc")
    for pages in (a, b, a, c, a, b):
        await cache.read(pages)

    assert [pages.asked for pages in (a, b, c)] == [[0, 10, 11, 10, 11], [0, 0], [0]]


async def test_long_transcripts_leave_less_room_for_others(talk: Talk) -> None:
    assert talk.transcript.size == 8
    cache = TranscriptCache(entries_max=16)
    a, b, c = (Pages(talk.events, id=id) for id in "abc")
    long = Pages(many_turns(5).events, id="long")
    for pages in (a, b, a, c, b, long, long, c):
        await cache.read(pages)

    assert [pages.asked for pages in (a, b, c)] == [[0, 10, 11], [0, 0], [0, 0]]
    assert len(long.asked) == 3


def many_turns(count: int) -> Talk:
    talk = Talk()
    for number in range(count):
        talk.turn(f"r{number}", "q", "a")
    return talk


async def test_runs_that_begin_at_once_read_one_transcript(
    autojump_clock: object, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript_pages, "PAGE_EVENTS", 3)
    cache, read = TranscriptCache(), []

    class SlowPages(Pages):
        async def events(self, **options: Any) -> list[Event]:
            await trio.sleep(1)
            return await super().events(**options)

    pages = SlowPages(talk.events)
    await cache.read(Pages(talk.events[:2]))

    async def run() -> None:
        read.append(await cache.read(pages))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        nursery.start_soon(run)

    assert read[0] is read[1]
    assert read[0].state() == talk.transcript.state()
