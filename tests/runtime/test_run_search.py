"""Runs, page by page, while sessions and runs come, change and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from moorage.runtime import (
    InvalidArgument,
    RunState,
    SessionInfo,
    SessionState,
    StoreFailed,
    UnknownSession,
    scanning,
)
from moorage.runtime import run_search as module
from moorage.runtime.query_filters import RunFilter, SessionFilter
from moorage.runtime.run_search import may_have, newest_runs, runs_by_session
from moorage.runtime.sessions import SEALED
from moorage.stores import MemoryStore

from tests.runtime.query_content import QueryContent, query_content

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime import RunSummary

EVERYWHERE = SessionFilter()
ANY = RunFilter()
INFO = SessionInfo("s", SessionState.OPEN, {}, {}, 100, 200, 9, {"completed": 1, "running": 0})


async def one_session(
    content: QueryContent, session_id: str, filter: RunFilter = ANY, *, descending: bool = False
) -> list[RunSummary]:
    runs, position = await runs_by_session(
        content.store,
        EVERYWHERE,
        filter,
        session_id=session_id,
        descending=descending,
        position=None,
        limit=100,
    )
    assert position is None
    return runs


async def by_session(content: QueryContent, between: Callable[[], Any], **options: Any) -> Any:
    found: list[RunSummary] = []
    position = None
    while True:
        runs, position = await runs_by_session(
            content.store, EVERYWHERE, ANY, session_id=None, position=position, **options
        )
        assert len(runs) <= options["limit"]
        found += runs
        if position is None:
            return found
        await between()


async def newest(content: QueryContent, between: Callable[[], Any], limit: int) -> Any:
    found: list[RunSummary] = []
    position = None
    while True:
        runs, position = await newest_runs(
            content.store, EVERYWHERE, ANY, after=position, limit=limit
        )
        assert len(runs) <= limit
        found += runs
        if position is None:
            return found
        await between()


steps = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "run", "delete", "trim"]), st.sampled_from(["a", "b", "ä"])
    ),
    max_size=12,
)


class Steps:
    """Does one step after the other, at times that go on."""

    def __init__(self, content: QueryContent, steps: list[tuple[str, str]]) -> None:
        self.content = content
        self.left = iter(steps)
        self.now = 1_000

    async def next(self) -> bool:
        step = next(self.left, None)
        if step is None:
            return False
        self.now += 10
        content, (what, session_id) = self.content, step
        if what == "run":
            if session_id not in content.images:
                await content.session(session_id, self.now)
            ends = [None, "completed", "failed"][self.now // 10 % 3]
            error = {"error": {"code": "c", "message": "m"}} if ends == "failed" else {}
            await content.run(session_id, f"r{self.now}", self.now, ends=ends, **error)
        elif session_id in content.images:
            if what == "delete":
                await content.delete(session_id)
            else:
                await content.trim(session_id, content.images[session_id].head_seq // 2)
        return True


@settings(max_examples=60)
@given(
    steps,
    steps,
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([1, 50, scanning.WORK_MAX]),
)
def test_what_is_there_throughout_comes_once_and_in_order(
    before, between, by_time, descending, limit, work_max
) -> None:
    there: list[str] = []
    found: list[RunSummary] = []
    content = QueryContent(MemoryStore())

    async def main() -> None:
        async with query_content(content.store):
            first = Steps(content, before)
            while await first.next():
                pass
            there.extend(content.runs)
            later = Steps(content, between)
            later.now = first.now
            if by_time:
                found.extend(await newest(content, later.next, limit))
            else:
                options = {"descending": descending, "limit": limit}
                found.extend(await by_session(content, later.next, **options))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scanning, "WORK_MAX", work_max)
        trio.run(main)
    ids = [run.run_id for run in found]
    stayed = [run_id for run_id in there if run_id in content.runs]
    key: Callable[[RunSummary], Any] = lambda run: (run.session_id, run.seq)  # noqa: E731
    if by_time:
        key = lambda run: (run.submitted_at_ns, run.session_id, run.seq)  # noqa: E731

    assert [key(run) for run in found] == sorted(map(key, found), reverse=by_time or descending)
    assert len(set(ids)) == len(ids)
    assert set(stayed) <= set(ids)


async def test_runs_with_other_inputs_leave_nothing_behind() -> None:
    wanted = RunFilter(text="yes")
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        for number, text in enumerate(("yes", "no", "yes")):
            await content.run("s", f"r{number}", 2 + number, input=text)
        for descending in (False, True):
            runs = await one_session(content, "s", wanted, descending=descending)
            assert sorted(run.run_id for run in runs) == ["r0", "r2"]


async def test_a_session_that_goes_while_it_is_read_has_no_more_runs() -> None:
    class VanishingStore(MemoryStore):
        async def read(self, session_id: str, **asked: Any) -> Any:
            if session_id == "b":
                raise UnknownSession(session_id)
            return await super().read(session_id, **asked)

    async with query_content(VanishingStore()) as content:
        for name in ("a", "b", "c"):
            await content.session(name, 1)
            await content.run(name, f"r-{name}", 2)
        runs, position = await runs_by_session(
            content.store,
            EVERYWHERE,
            ANY,
            session_id=None,
            descending=False,
            position=None,
            limit=9,
        )

    assert ([run.run_id for run in runs], position) == (["r-a", "r-c"], None)


async def test_a_run_that_is_trimmed_away_while_it_is_looked_up_is_left_out(monkeypatch) -> None:
    class TrimmingStore(MemoryStore):
        async def find_run(self, session_id: str, run_id: str) -> Any:
            return None

    monkeypatch.setattr(scanning, "STRETCH_EVENTS", 1)
    async with query_content(TrimmingStore()) as content:
        await content.session("s", 1)
        await content.run("s", "r", 2)
        runs = await one_session(content, "s")

    assert runs == []


async def test_an_end_far_behind_its_request_is_found(monkeypatch) -> None:
    monkeypatch.setattr(scanning, "STRETCH_EVENTS", 2)
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        await content.run("s", "long", 2, ends=None)
        for number in range(5):
            await content.run("s", f"short-{number}", 3 + number)
        end = {"attempt": 1, "started_at_ns": 2, "submitted_at_ns": 2}
        await content.write("s", (20, "run_completed", "long", end))
        ascending = await one_session(content, "s")
        descending = await one_session(content, "s", descending=True)
        runs, _ = await runs_by_session(
            content.store,
            EVERYWHERE,
            ANY,
            session_id="s",
            descending=True,
            position=("s", 10),
            limit=100,
        )

    assert (ascending[0].run_id, ascending[0].ended_at_ns) == ("long", 20)
    assert ascending == descending[::-1]
    assert runs[-1] == ascending[0]


async def test_unfinished_runs_are_where_the_log_says() -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        await content.run("s", "running", 2, ends=None)
        asked = {"cause": "run_cancelled", "error": {"code": "c", "message": "m"}}
        await content.write("s", (3, "run_cancel_requested", "running", asked))
        await content.write("s", (4, "run_submitted", "queued", {"input": 1, "input_bytes": 1}))
        (cancelling, queued) = await one_session(content, "s")
        only = await one_session(content, "s", RunFilter(states=frozenset({RunState.QUEUED})))

    assert (cancelling.state, queued.state) == (RunState.CANCELLING, RunState.QUEUED)
    assert cancelling.started_at_ns == 2
    assert only == [queued]


async def test_a_run_submitted_while_its_session_is_read_is_told_as_it_is() -> None:
    class LateStore(MemoryStore):
        """Its infos are those of before."""

        async def info(self, session_id: str) -> SessionInfo | None:
            info = await super().info(session_id)
            if info is None or not self.late:
                return info
            self.late = False
            return attrs.evolve(info, runs={"completed": 1})

        late = False

    store = LateStore()
    async with query_content(store) as content:
        await content.session("s", 1)
        await content.run("s", "new", 2, ends=None)
        store.late = True
        (run,) = await one_session(content, "s")

    assert run.state is RunState.RUNNING


async def test_what_attempts_used_that_ended_with_their_process_counts() -> None:
    used = {"input_tokens": 5, "cost_usd": 0.5}
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        await content.run("s", "r", 2, ends=None)
        await content.write(
            "s",
            (3, "token_usage_updated", "r", used),
            (3, "token_usage_updated", "r", "no map"),
            (4, "run_requeued", "r", {"attempt": 1}),
            (5, "run_started", "r", {"attempt": 2}),
            (6, "token_usage_updated", "r", used),
            (7, "message_received", "r", {"content": "", "model": "m"}),
            (8, "run_interrupted", "r", {"attempt": 2, "started_at_ns": 5, "usage": used}),
        )
        await content.run("s", "plain", 9, usage=used)
        interrupted, plain = await one_session(content, "s")

    assert interrupted.usage == {"input_tokens": 10, "cost_usd": 1.0}
    assert interrupted.model == "m"
    assert (plain.usage, plain.model) == (used, None)


async def test_a_run_that_failed_has_the_model_of_its_last_message() -> None:
    async with query_content(MemoryStore()) as content:
        await content.session("s", 1)
        for run_id, data in (("a", {"model": "m"}), ("b", {"model": 7}), ("c", "text")):
            await content.run("s", run_id, 2, ends=None)
            error = {"code": "c", "message": "m"}
            end = {"attempt": 1, "started_at_ns": 2, "usage": {"input_tokens": 1}, "error": error}
            await content.write("s", (3, "message_received", run_id, data))
            await content.write("s", (4, "run_failed", run_id, end))
        runs = await one_session(content, "s")

    assert [run.model for run in runs] == ["m", None, None]


async def test_work_is_bounded_and_goes_on_with_the_next_page(monkeypatch) -> None:
    reads = []

    class CountingStore(MemoryStore):
        async def read(self, session_id: str, **asked: Any) -> Any:
            reads.append(session_id)
            return await super().read(session_id, **asked)

    async with query_content(CountingStore()) as content:
        for number in range(30):
            await content.session(f"s{number:02d}", number)
            await content.run(f"s{number:02d}", f"r{number}", number)
            await content.session(f"t{number:02d}", number)
        monkeypatch.setattr(scanning, "WORK_MAX", 100)
        pages = []

        async def count() -> None:
            pages.append(len(reads))
            reads.clear()

        await count()
        found = await by_session(content, count, descending=False, limit=1_000)

    assert [run.run_id for run in found] == [f"r{number}" for number in range(30)]
    assert len(pages) > 5
    assert max(pages[1:]) <= 5


async def test_newest_runs_of_sessions_that_take_turns_come_in_order() -> None:
    async def nothing() -> None:
        pass

    async with query_content(MemoryStore()) as content:
        await content.session("a", 1)
        await content.session("b", 1)
        for number in range(12):
            await content.run("ab"[number // 3 % 2], f"r{number}", 2 + number)
        found = [await newest(content, nothing, limit) for limit in (1, 2, 5)]

    for runs in found:
        assert [run.run_id for run in runs] == [f"r{number}" for number in reversed(range(12))]


async def test_the_newest_runs_come_in_shorter_pages_where_the_work_is_spent(monkeypatch) -> None:
    monkeypatch.setattr(module, "NEWEST_WORK_MAX", 200)
    async with query_content(MemoryStore()) as content:
        for number in range(60):
            await content.session(f"s{number:02d}", 10 * number + 10)
            await content.run(f"s{number:02d}", f"r{number}", 10 * number + 11)
        pages = []

        async def count() -> None:
            pages.append(1)

        found = await newest(content, count, limit=50)

    assert [run.run_id for run in found] == [f"r{number}" for number in reversed(range(60))]
    assert len(pages) > 2


async def test_newest_runs_spread_too_far_are_refused_with_a_remedy(monkeypatch) -> None:
    async with query_content(MemoryStore()) as content:
        for number in range(20):  # all of them old sessions that changed a moment ago
            await content.session(f"s{number:02d}", 1)
            await content.run(f"s{number:02d}", f"old{number}", 2)
        for number in range(20):
            await content.run(f"s{number:02d}", f"new{number}", 1_000 + number)
        _, position = await newest_runs(content.store, EVERYWHERE, ANY, after=None, limit=19)
        monkeypatch.setattr(module, "NEWEST_WORK_MAX", 100)
        with pytest.raises(InvalidArgument, match="order='session'"):
            await newest_runs(content.store, EVERYWHERE, ANY, after=position, limit=19)


async def test_only_sessions_that_may_have_newer_runs_are_read() -> None:
    reads = []

    class CountingStore(MemoryStore):
        async def read(self, session_id: str, **asked: Any) -> Any:
            reads.append(session_id)
            return await super().read(session_id, **asked)

    async with query_content(CountingStore()) as content:
        for number in range(50):
            await content.session(f"s{number:02d}", 10 * number)
            await content.run(f"s{number:02d}", f"r{number}", 10 * number + 1)
        await newest_runs(content.store, EVERYWHERE, ANY, after=None, limit=5)

    assert len(reads) <= 8


async def test_a_session_that_is_encrypted_is_refused_without_its_keys() -> None:
    class SealedStore(MemoryStore):
        async def info(self, session_id: str) -> SessionInfo | None:
            return attrs.evolve(INFO, metadata={SEALED: b"x"})

    async with query_content(SealedStore()) as content:
        with pytest.raises(StoreFailed, match="keys"):
            await one_session(content, "s")


@pytest.mark.parametrize(
    ("info", "filter", "expected"),
    [
        (INFO, ANY, True),
        (attrs.evolve(INFO, runs={"completed": 0}), ANY, False),
        (INFO, RunFilter(states=frozenset({RunState.COMPLETED})), True),
        (INFO, RunFilter(states=frozenset({RunState.FAILED, RunState.RUNNING})), False),
        (INFO, RunFilter(submitted_before_ns=100), False),
        (INFO, RunFilter(submitted_before_ns=101), True),
        (INFO, RunFilter(ended_before_ns=100), False),
        (INFO, RunFilter(submitted_after_ns=201), False),
        (INFO, RunFilter(ended_after_ns=201), False),
        (INFO, RunFilter(ended_after_ns=200), True),
        (attrs.evolve(INFO, runs={"running": 1}), RunFilter(submitted_after_ns=201), True),
    ],
)
def test_listing_facts_say_whether_a_session_is_read(info, filter, expected) -> None:
    assert may_have(info, filter) is expected
