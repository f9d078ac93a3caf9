from __future__ import annotations

from moorage.adapters.gateways.http.durable_streams.known_streams import KnownStreams


def test_those_that_were_used_last_are_remembered():
    known = KnownStreams(streams_max=2)
    first = known.get("a")
    known.get("b")
    assert known.get("a") is first
    known.get("c")

    assert len(known) == 2
    assert known.get("a") is first


async def test_what_is_locked_is_not_forgotten_under_somebodys_hands():
    known = KnownStreams(streams_max=1)
    busy = known.get("a")
    async with busy.lock:
        known.get("b")

        assert known.get("a") is busy


def test_what_is_forgotten_begins_anew():
    known = KnownStreams()
    first = known.get("a")
    known.forget("a")
    known.forget("a")

    assert known.get("a") is not first
