"""Commands are frozen, plain data: they could cross a process boundary."""

from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest
from moorage.runtime import commands
from moorage.runtime.codec import decode_struct, encode_struct
from moorage.runtime.machine import _HANDLERS

EXAMPLES: list[commands.Command] = [
    commands.OpenSession(mode="create", slots=2, tags={"a": "b"}, metadata={"c": [1]}),
    commands.Submit(run_id="A", input={"x": b"y"}, size_bytes=5, key="k", timeout_seconds=1.5),
    commands.Cancel(run_id="A", reason="enough"),
    commands.AnswerRun(run_id="A", name="n", value=[None, True]),
    commands.AppendEvent(type="message_received", data="hi", size_bytes=3),
    commands.Pause(),
    commands.Resume(),
    commands.Close(outcome="failed", reason="no money", force=True),
    commands.Reopen(),
    commands.GetStatus(),
    commands.Drain(timeout_seconds=3.0, queued="finish"),
    commands.Trim(before=7),
    commands.LiftQuarantine(),
    commands.DeleteSession(),
]
OF_THE_WORKER = {commands.Drain, commands.Trim, commands.DeleteSession}
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
