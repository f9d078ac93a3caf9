"""What goes to another process shows ids and numbers, and comes there as it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import attrs
import pytest
from moorage.runtime import commands
from moorage.runtime.codec import decode_struct, encode_struct
from moorage.runtime.commands import Command
from moorage.runtime.errors import CorruptLog
from moorage.runtime.events import Event, NewEvent
from moorage.stores import MemoryStore
from moorage.stores.encryption import EncryptedStore, KeyRing, KeyUnavailable, MemoryVault
from moorage.stores.encryption.sealed_commands import (
    HIDDEN,
    open_answer,
    open_command,
    seal_answer,
    seal_command,
)

if TYPE_CHECKING:
    from moorage.runtime.commands import Answer

SECRET = "a secret of somebody"
RING = KeyRing.generate("k1")

COMMANDS = (
    commands.OpenSession(
        mode="create",
        slots=3,
        tags={SECRET: SECRET},
        metadata={SECRET: [SECRET]},
        summary=SECRET,
        metadata_update={SECRET: None},
    ),
    commands.OpenSession(),
    commands.Submit(
        run_id="r1", input={"text": SECRET}, size_bytes=9, key=SECRET, metadata={"m": SECRET}
    ),
    commands.Submit(run_id="r2", input=None, size_bytes=1, attempts_max=7),
    commands.Cancel(run_id="r1", reason=SECRET),
    commands.Cancel(run_id="r1"),
    commands.AnswerRun(run_id="r1", name="question", value=[SECRET]),
    commands.Steer(run_id="r1", steer_id="s1", message=SECRET, size_bytes=2),
    commands.AppendEvents(
        events=(NewEvent("a", SECRET, {"m": SECRET}), NewEvent(SECRET, None)), size_bytes=3
    ),
    commands.Close(outcome="failed", reason=SECRET, force=True),
    commands.SoftDelete(reason=SECRET, expected_seq=3),
    commands.SoftDelete(),
    commands.Trim(before=3),
    commands.GetStatus(),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_goes_sealed_and_arrives_as_it_was(command: Command) -> None:
    sealed = seal_command(RING, "a", command)

    carried = decode_struct(encode_struct(sealed), type(command))
    assert SECRET.encode() not in encode_struct(sealed)
    assert open_command(RING, "a", carried) == command


def test_every_field_that_may_hold_what_people_wrote_is_hidden() -> None:
    readable = {
        kind.__name__: {field.name for field in attrs.fields(kind)} - set(HIDDEN[kind][0])
        for kind in get_args(Command)
        if kind in HIDDEN
    }

    assert readable == {
        "OpenSession": {
            "mode",
            "slots",
            "expire_after_seconds",
            "expire_by_policy",
            "include_deleted",
            "node_tags",  # by which nodes are chosen
        },
        "SoftDelete": {"expected_seq", "idle"},
        "Submit": {
            "run_id",
            "size_bytes",
            "key_checked_at",
            "agent",
            "on_interrupt",
            "attempts_max",
            "timeout_seconds",
            "queue_seconds_max",
            "silence_seconds_max",
        },
        "Cancel": {"run_id"},
        "AnswerRun": {"run_id", "name", "size_bytes"},
        "Steer": {
            "run_id",
            "steer_id",
            "size_bytes",
            "steerable",
            "ended",
            "agent",
            "checked_at",
        },
        "AppendEvents": {"size_bytes", "between_runs", "expected_seq"},
        "Close": {"outcome", "force"},
    }


def test_a_command_that_was_not_sealed_or_was_moved_is_refused() -> None:
    command = commands.Cancel(run_id="r1", reason="why")
    sealed = seal_command(RING, "a", command)

    for plain in COMMANDS:
        if type(plain) in HIDDEN:
            with pytest.raises(CorruptLog, match="not encrypted"):
                open_command(RING, "a", plain)
    with pytest.raises(KeyUnavailable):
        open_command(RING, "b", sealed)
    with pytest.raises(CorruptLog):
        open_command(RING, "a", attrs.evolve(command, reason="moorage.sealed:no base64"))


def test_events_that_are_an_answer_are_sealed_and_other_answers_are_not() -> None:
    events = [Event("a", 3, 5, "note", None, {"text": SECRET}, {"m": SECRET}, 2)]

    sealed = seal_answer(RING, "a", events)

    assert SECRET not in repr(sealed)
    assert open_answer(RING, "a", sealed) == events
    for answer in (True, None, "r1", [], ["x"]):
        assert open_answer(RING, "a", seal_answer(RING, "a", answer)) == answer


class Carrying(MemoryStore):
    """Remembers what it carried."""

    carried: list[Command] = []  # noqa: RUF012

    async def hand_over(
        self, session_id: str, command: Command, letter: str | None = None
    ) -> Answer:
        self.carried.append(command)
        return await super().hand_over(session_id, command)


async def test_nodes_of_a_cluster_hand_over_sealed_commands() -> None:
    inner, vault = Carrying(lease_seconds=30.0), MemoryVault()
    inner.carried.clear()
    given: list[tuple[str, Command]] = []

    async def deliver(session_id: str, command: Command, letter: str | None = None) -> Answer:
        given.append((session_id, command))
        return [Event("a", 1, 1, "note", None, SECRET)]

    one, other = (EncryptedStore(inner.peer(), RING, vault) for _ in range(2))
    async with (
        one.opened(owner="one", deliver=deliver),
        other.opened(owner="other", deliver=deliver),
    ):
        await one.claim("a")
        answer = await other.hand_over("a", COMMANDS[2])

    assert given == [("a", COMMANDS[2])]
    assert answer == [Event("a", 1, 1, "note", None, SECRET)]
    assert SECRET not in repr(inner.carried)
    assert len(inner.carried) == 1
