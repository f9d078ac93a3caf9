"""Pages over one session's records, against the definition applied to a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.runtime.codec import encode_event
from moorage.runtime.errors import CursorExpired
from moorage.runtime.sessions import SessionInfo, SessionState
from moorage.stores import log_index
from moorage.stores.memory_log import MemoryLog

TYPES = ["message_sent", "message_received", "run_completed", "run_submitted"]
RUNS = [None, "r1", "r2"]


def _info(**changes: object) -> SessionInfo:
    values: dict[str, object] = {
        "state": SessionState.OPEN,
        "tags": {},
        "metadata": {},
        "created_at_ns": 1,
        "modified_at_ns": 1,
        "head_seq": 0,
        "runs": {},
    }
    return SessionInfo("a", **{**values, **changes})  # type: ignore[arg-type]


def _log(facts: list[tuple[str, str | None]], head_seq: int = 0) -> MemoryLog:
    log = MemoryLog("a", head_seq=head_seq, info=_info())
    log.append(
        [
            encode_event(number, type, run_id, {"number": number})
            for number, (type, run_id) in enumerate(facts, head_seq + 1)
        ]
    )
    return log


def _within_run(
    facts: list[tuple[str, str | None]], born_after: int, seq: int, run_id: str | None, oldest: int
) -> bool:
    """Between the run's last request and the end that follows, as far as these are kept."""
    of_run = [
        (number, type) for number, (type, run) in enumerate(facts, born_after + 1) if run == run_id
    ]
    submitted = max((number for number, type in of_run if type == "run_submitted"), default=0)
    ended = max((number for number, type in of_run if type == "run_completed"), default=0)
    if run_id is None:
        return True
    if submitted >= oldest and seq < submitted:
        return False
    return not (ended >= oldest and ended > submitted and seq > ended)


@given(
    facts=st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(RUNS)), max_size=12),
    born_after=st.integers(0, 3),
    trimmed=st.integers(0, 6),
    after=st.integers(0, 20),
    before=st.none() | st.integers(0, 20),
    limit=st.integers(1, 5),
    types=st.none() | st.frozensets(st.sampled_from(TYPES)),
    run_id=st.sampled_from([*RUNS, "unknown"]),
    backwards=st.booleans(),
    scan_max=st.integers(1, 6),
)
def test_pages_put_together_are_the_matching_events(
    facts: list[tuple[str, str | None]],
    born_after: int,
    trimmed: int,
    after: int,
    before: int | None,
    limit: int,
    types: frozenset[str] | None,
    run_id: str | None,
    backwards: bool,
    scan_max: int,
) -> None:
    log = _log(facts, born_after)
    log.trim(born_after + 1 + trimmed)
    after = max(after, log.oldest_seq - 1)
    expected = [
        seq
        for seq, (type, run) in enumerate(facts, born_after + 1)
        if after < seq < (before if before is not None else 100)
        and seq >= log.oldest_seq
        and (types is None or type in types)
        and (run_id is None or run == run_id)
        and _within_run(facts, born_after, seq, run_id, log.oldest_seq)
    ]

    found: list[int] = []
    original, log_index.SCAN_RECORDS_MAX = log_index.SCAN_RECORDS_MAX, scan_max
    try:
        cursor, end = after, before
        for _ in range(30):
            page = log.page(
                after=cursor,
                before=end,
                limit=limit,
                types=types,
                run_id=run_id,
                backwards=backwards,
            )
            seqs = [event.seq for event in page.events]
            assert len(seqs) <= limit
            assert [event.data["number"] for event in page.events] == seqs
            if backwards:
                found = seqs + found
                if page.scanned_to <= max(log.oldest_seq, after + 1):
                    break
                assert end is None or page.scanned_to < end
                end = page.scanned_to
            else:
                found += seqs
                if page.scanned_to >= page.head_seq or page.scanned_to + 1 >= (before or 100):
                    break
                if before is not None and page.scanned_to >= before - 1:
                    break
                assert page.scanned_to > cursor
                cursor = page.scanned_to
        else:
            raise AssertionError("paging never ended")
    finally:
        log_index.SCAN_RECORDS_MAX = original

    assert found == expected


def test_a_cursor_below_the_oldest_event_expires_forwards_only() -> None:
    log = _log([("message_sent", None)] * 5)
    log.trim(4)

    with pytest.raises(CursorExpired) as caught:
        log.page(after=2, before=None, limit=9, types=None, run_id=None, backwards=False)
    assert caught.value.oldest_seq == 4

    page = log.page(after=0, before=None, limit=9, types=None, run_id=None, backwards=True)
    assert [event.seq for event in page.events] == [4, 5]


def test_an_unselective_filter_is_bounded_per_page() -> None:
    log = _log([("message_sent", None)] * (log_index.SCAN_RECORDS_MAX + 5))

    page = log.page(
        after=0, before=None, limit=9, types=frozenset({"x"}), run_id=None, backwards=False
    )

    assert page.events == []
    assert page.scanned_to == log_index.SCAN_RECORDS_MAX


def test_appending_says_which_runs_ended() -> None:
    log = _log([("run_submitted", "r1"), ("run_submitted", "r2")])

    ended = log.append(
        [encode_event(5, "run_completed", "r2", None), encode_event(5, "message_sent", "r1", None)]
    )

    assert ended == ["r2"]
    assert log.run_ended("r2")
    assert not log.run_ended("r1")
    assert not log.run_ended("r3")


def test_trimming_forgets_runs_and_keys_with_their_first_event() -> None:
    log = MemoryLog("a", head_seq=0, info=_info())
    log.append(
        [
            encode_event(1, "run_submitted", "r1", None, key="k1"),
            encode_event(2, "run_submitted", "r2", None, key="k2"),
            encode_event(3, "run_completed", "r1", None),
        ]
    )
    size_bytes = log.size_bytes

    log.trim(2)

    assert log.find_run("r1") is None
    assert log.find_key("k1") is None
    assert log.find_key("k2") == "r2"
    assert 0 < log.size_bytes < size_bytes
    log.trim(99)
    assert (log.oldest_seq, log.head_seq, log.size_bytes) == (4, 3, 0)
    assert log.find_run("r2") is None


def test_what_is_given_out_shares_nothing_with_what_is_kept() -> None:
    tags = {"tenant": "acme"}
    metadata = {"nested": {"depth": 1}}
    runs = {"queued": 1}
    log = MemoryLog("a", head_seq=0, info=_info(tags=tags, metadata=metadata, runs=runs))
    tags["tenant"] = "changed"
    metadata["nested"]["depth"] = 2
    runs["queued"] = 2
    log.info().metadata["nested"]["depth"] = "changed"
    log.info().tags["tenant"] = "changed"

    assert log.info().tags == {"tenant": "acme"}
    assert log.info().metadata == {"nested": {"depth": 1}}
    assert log.info().runs == {"queued": 1}


def test_a_run_whose_request_was_trimmed_is_unknown_whatever_came_later() -> None:
    log = _log([("run_submitted", "r1"), ("message_sent", "r1")])
    log.trim(2)
    log.append([encode_event(3, "run_completed", "r1", {"number": 3})])
    partly = log.find_run("r1")
    log.trim(4)
    log.append([encode_event(4, "run_completed", "r1", {"number": 4})])

    assert partly is None
    assert log.find_run("r1") is None
    assert log.run_ended("r1")


def test_a_run_s_events_before_its_request_are_not_its_first() -> None:
    log = _log([("message_sent", "r1"), ("run_submitted", "r1"), ("run_completed", "r1")])

    run = log.find_run("r1")

    assert run is not None
    assert run.ended is not None
    assert (run.submitted.seq, run.ended.seq) == (2, 3)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_events_of_a_run_are_those_from_its_request_to_its_end(backwards: bool) -> None:
    types = ["message_sent", "run_submitted", "message_sent", "run_completed", "message_sent"]
    log = _log([(type, "r1") for type in types])
    found = []
    for before in (1, 3, 5):
        log.trim(before)
        page = log.page(
            after=before - 1, before=None, limit=9, types=None, run_id="r1", backwards=backwards
        )
        found.append([event.seq for event in page.events])

    assert found == [[2, 3, 4], [3, 4], [5]]
