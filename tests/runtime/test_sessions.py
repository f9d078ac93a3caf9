from __future__ import annotations

import attrs
import pytest
from moorage.runtime.runs import RunState
from moorage.runtime.sessions import DrainReport, SessionInfo, SessionState

INFO = SessionInfo(
    id="s",
    state=SessionState.OPEN,
    tags={},
    metadata={},
    created_at_ns=1,
    modified_at_ns=2,
    head_seq=3,
    runs={},
)


def test_a_state_prints_as_its_word() -> None:
    assert "quarantined" == str(SessionState.QUARANTINED) == f"{SessionState.QUARANTINED}"


def test_what_is_queued_running_or_being_cancelled_is_active() -> None:
    every = {state.value: 1 for state in RunState}

    assert attrs.evolve(INFO, runs=every).active == 3
    assert INFO.active == 0


@pytest.mark.promise(4)
@pytest.mark.parametrize("state", ["queued", "running", "cancelling"])
def test_unfinished_work_needs_a_worker(state: str) -> None:
    assert attrs.evolve(INFO, runs={state: 1}).needs_worker
    assert attrs.evolve(INFO, runs={state: 1}, state=SessionState.PAUSED).needs_worker


@pytest.mark.parametrize("state", ["waiting", "completed", "failed"])
def test_a_waiting_or_ended_run_needs_no_worker(state: str) -> None:
    assert not attrs.evolve(INFO, runs={state: 5}).needs_worker


@pytest.mark.promise(14)
def test_a_quarantined_session_gets_no_worker_by_itself() -> None:
    info = attrs.evolve(INFO, runs={"queued": 2}, state=SessionState.QUARANTINED)

    assert not info.needs_worker


@pytest.mark.promise(13)
def test_reports_of_several_sessions_add_up_without_losing_a_run() -> None:
    first = DrainReport(("a",), ("b",), ("c",), ("d",), ("e",))
    second = DrainReport(completed=("f",), not_stopped=("g",))

    total = DrainReport.of_all([first, second])

    assert DrainReport(("a", "f"), ("b",), ("c",), ("d",), ("e", "g")) == total


@pytest.mark.promise(4)
def test_a_wait_that_ends_by_time_needs_a_worker() -> None:
    assert attrs.evolve(INFO, runs={"waiting": 1}, timed_waits=1).needs_worker


def test_a_session_demands_its_tags_and_the_agents_of_its_runs() -> None:
    info = attrs.evolve(INFO, node_tags={"region": "eu"}, agents=["", "coder"])

    assert info.agents == ("", "coder")
    assert info.demands == {"tag:region=eu", "agent:", "agent:coder"}
    assert INFO.demands == frozenset()
