"""The two tables are total, agree with each other, and say what DESIGN promises."""

from __future__ import annotations

import pytest
from moorage.runtime.events import RUN_TERMINAL_TYPES, RUN_TYPES, SESSION_TYPES
from moorage.runtime.runs import RUN_TERMINAL_STATES, RunState
from moorage.runtime.sessions import SessionState
from moorage.runtime.transitions import (
    DELETED_DECIDE,
    RUN_DECIDE,
    RUN_EVOLVE,
    SESSION_DECIDE,
    SESSION_EVOLVE,
    Ruling,
    RunInput,
    SessionInput,
)

RUN_STATES: list[RunState | None] = [None, *RunState]
SESSION_STATES: list[SessionState | None] = [None, *SessionState]
BY_CAUSE_TYPES = ("run_cancelled", "run_timed_out")


def test_every_run_state_has_a_row_for_every_input() -> None:
    assert set(RUN_DECIDE) == set(RUN_STATES)
    assert all(set(row) == set(RunInput) for row in RUN_DECIDE.values())


def test_every_session_state_has_a_row_for_every_input() -> None:
    assert set(SESSION_DECIDE) == set(SESSION_STATES)
    assert all(set(row) == set(SessionInput) for row in SESSION_DECIDE.values())
    assert set(DELETED_DECIDE) == set(SessionInput)


def decided_of_runs() -> set[tuple[RunState | None, str]]:
    """Every (state, event type) that a decision can lead to."""
    edges: set[tuple[RunState | None, str]] = set()
    for state, row in RUN_DECIDE.items():
        for ruling in row.values():
            if ruling is Ruling.BY_CAUSE:
                edges |= {(state, type) for type in BY_CAUSE_TYPES}
            elif isinstance(ruling, str):
                edges.add((state, ruling))
    return edges


def test_what_is_decided_of_runs_is_what_their_states_follow_from() -> None:
    assert decided_of_runs() == set(RUN_EVOLVE)


def test_what_is_decided_of_sessions_is_what_their_states_follow_from() -> None:
    rows = [*SESSION_DECIDE.items(), (SessionState.CLOSED, DELETED_DECIDE)]
    decided = {
        (state, ruling) for state, row in rows for ruling in row.values() if isinstance(ruling, str)
    }
    # a recovery is nobody's request: it is recorded in the states that can have had running work
    recoveries = {
        (state, "session_recovered") for state in (SessionState.OPEN, SessionState.PAUSED)
    }

    assert decided | recoveries == set(SESSION_EVOLVE)


def test_every_type_that_changes_a_run_is_in_the_tables_and_no_other() -> None:
    assert {type for _, type in RUN_EVOLVE} == RUN_TYPES


def test_every_type_that_changes_a_session_is_in_the_tables_and_no_other() -> None:
    assert {type for _, type in SESSION_EVOLVE} == SESSION_TYPES


def test_nothing_leads_out_of_a_terminal_state() -> None:
    assert not [edge for edge in RUN_EVOLVE if edge[0] in RUN_TERMINAL_STATES]
    for state in RUN_TERMINAL_STATES:
        rulings = set(RUN_DECIDE[state].values())
        assert rulings == {Ruling.IGNORE, Ruling.ILLEGAL, Ruling.QUEUE}


def test_a_message_to_a_run_that_does_not_run_becomes_a_run() -> None:
    for state in RunState:
        expected = "run_steered" if state is RunState.RUNNING else Ruling.QUEUE
        assert RUN_DECIDE[state][RunInput.STEER] == expected


def test_terminal_events_lead_to_the_state_they_are_named_after_and_others_to_no_end() -> None:
    for (_, type), after in RUN_EVOLVE.items():
        assert (after in RUN_TERMINAL_STATES) == (type in RUN_TERMINAL_TYPES)
        if type in RUN_TERMINAL_TYPES:
            assert type == f"run_{after}"


def test_every_run_state_can_be_reached_and_every_unfinished_one_can_be_left() -> None:
    assert set(RUN_EVOLVE.values()) == set(RunState)
    assert {before for before, _ in RUN_EVOLVE} == {None, *RunState} - RUN_TERMINAL_STATES


def test_every_session_state_can_be_reached_and_left() -> None:
    assert set(SESSION_EVOLVE.values()) == set(SessionState)
    assert {before for before, _ in SESSION_EVOLVE} == set(SESSION_STATES)


@pytest.mark.promise(6)
def test_a_request_to_end_is_only_followed_by_the_outcome_that_it_names() -> None:
    ways_out = {
        type: after for (before, type), after in RUN_EVOLVE.items() if before is RunState.CANCELLING
    }

    assert ways_out == {
        "run_cancelled": RunState.CANCELLED,
        "run_timed_out": RunState.TIMED_OUT,
        "run_steer_taken": RunState.CANCELLING,  # the agent had taken it, which ends nothing
    }


@pytest.mark.promise(6)
def test_cancelling_is_never_refused_in_a_state_that_exists() -> None:
    rulings = {state: RUN_DECIDE[state][RunInput.CANCEL] for state in RunState}

    assert rulings == {
        RunState.QUEUED: "run_cancelled",
        RunState.RUNNING: "run_cancel_requested",
        RunState.WAITING: "run_cancelled",
        RunState.CANCELLING: Ruling.IGNORE,
    } | dict.fromkeys(RUN_TERMINAL_STATES, Ruling.IGNORE)


@pytest.mark.promise(4)
def test_only_what_runs_can_be_interrupted() -> None:
    for state in RUN_STATES:
        rulings = {RUN_DECIDE[state][RunInput.INTERRUPT], RUN_DECIDE[state][RunInput.REQUEUE]}
        if state is RunState.RUNNING:
            assert rulings == {"run_interrupted", "run_requeued"}
        elif state is RunState.CANCELLING:
            assert rulings == {Ruling.BY_CAUSE}
        else:
            assert rulings == {Ruling.IGNORE}


def test_signals_of_our_own_tasks_are_never_illegal() -> None:
    signals = (RunInput.SUCCEED, RunInput.FAIL, RunInput.PARK, RunInput.INTERRUPT)

    for row in RUN_DECIDE.values():
        assert not {row[signal] for signal in signals} & {Ruling.ILLEGAL, Ruling.UNKNOWN}


@pytest.mark.promise(3)
def test_signals_of_our_own_tasks_mean_nothing_to_a_run_without_a_task() -> None:
    signals = (RunInput.SUCCEED, RunInput.FAIL, RunInput.PARK, RunInput.INTERRUPT)

    for state in set(RUN_STATES) - {RunState.RUNNING, RunState.CANCELLING}:
        assert {RUN_DECIDE[state][signal] for signal in signals} == {Ruling.IGNORE}


def test_a_quarantined_session_can_only_be_lifted_out() -> None:
    row = SESSION_DECIDE[SessionState.QUARANTINED]

    assert [ruling for ruling in row.values() if isinstance(ruling, str)] == ["session_recovered"]
    assert row[SessionInput.LIFT] == "session_recovered"


@pytest.mark.parametrize("state", SessionState)
def test_every_session_can_be_quarantined(state: SessionState) -> None:
    ruling = SESSION_DECIDE[state][SessionInput.QUARANTINE]

    expected = Ruling.IGNORE if state is SessionState.QUARANTINED else "session_quarantined"
    assert ruling == expected


def test_nothing_but_its_restoration_makes_a_deleted_session_usable() -> None:
    changes = {input: ruling for input, ruling in DELETED_DECIDE.items() if isinstance(ruling, str)}

    assert changes == {
        SessionInput.QUARANTINE: "session_quarantined",  # deleted it stays
        SessionInput.RESTORE: "session_undeleted",
    }
