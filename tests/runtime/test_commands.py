"""Commands are frozen, plain data: they could cross a process boundary."""

from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest
from moorage.runtime import commands
from moorage.runtime.codec import decode_struct, encode_struct
from moorage.runtime.events import NewEvent
from moorage.runtime.machine import _HANDLERS

EXAMPLES: list[commands.Command] = [
    commands.OpenSession(mode="create", slots=2, tags={"a": "b"}, metadata={"c": [1]}),
    commands.OpenSession(expire_after_seconds=float("inf"), include_deleted=True),
    commands.Submit(run_id="A", input={"x": b"y"}, size_bytes=5, key="k", timeout_seconds=1.5),
    commands.Cancel(run_id="A", reason="enough"),
    commands.AnswerRun(run_id="A", name="n", value=[None, True]),
    commands.Steer(run_id="A", steer_id="B", message="left", size_bytes=5, steerable=True),
    commands.AppendEvents(
        events=(NewEvent("message_received", "hi", {"from": "me"}),), size_bytes=3
    ),
    commands.Pause(),
    commands.Resume(),
    commands.Close(outcome="failed", reason="no money", force=True),
    commands.Reopen(),
    commands.GetStatus(),
    commands.Drain(timeout_seconds=3.0, queued="finish"),
    commands.Trim(before=7),
    commands.LiftQuarantine(),
    commands.DeleteSession(),
    commands.DeleteUnchanged(expected_seq=7, idle=True),
    commands.SoftDelete(reason="asked for", expected_seq=7),
    commands.RestoreSession(),
]
OF_THE_WORKER = {
    commands.Drain,
    commands.Trim,
    commands.DeleteSession,
    commands.DeleteUnchanged,
}
"""What needs the store or waits for tasks: the machine has no part in it."""


def test_every_command_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == set(get_args(commands.Command))


def test_the_machine_handles_every_command_but_those_of_the_worker() -> None:
    assert set(_HANDLERS) == set(get_args(commands.Command)) - OF_THE_WORKER


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_command_survives_being_encoded(command: Any) -> None:
    assert decode_struct(encode_struct(command), type(command)) == command


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_a_command_cannot_be_changed_once_it_is_on_its_way(command: Any) -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        command.run_id = "B"


def test_a_submission_without_options_is_neither_requeued_nor_limited_in_time() -> None:
    command = commands.Submit(run_id="A", input=1, size_bytes=1)

    assert (command.on_interrupt, command.attempts_max) == ("fail", 3)
    limits = (command.timeout_seconds, command.queue_seconds_max, command.silence_seconds_max)
    assert limits == (None, None, None)


def test_submits_and_openings_demand_what_the_session_will() -> None:
    submit = commands.Submit(run_id="A", input=None, size_bytes=1, agent="coder")

    assert commands.demands_of(submit) == {"agent:coder"}
    assert commands.demands_of(attrs.evolve(submit, agent=None)) == {"agent:"}
    assert commands.demands_of(commands.OpenSession(node_tags={"a": "b"})) == {"tag:a=b"}
    assert commands.demands_of(commands.OpenSession()) == frozenset()
    assert commands.demands_of(commands.GetStatus()) == frozenset()
