"""Commands on their way to the session's owner, sealed like the rest.

A store that is shared brings commands to another process through a place of its own, a table or a
list, where they would lie readable: inputs, answers, messages, tags. They are sealed under the
master key, since a session that is about to begin has no key yet, and bound to their session and
kind. Ids, numbers and names of questions stay readable, and so do answers and refusals, except for
events.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import commands
from moorage.runtime.codec import decode_struct, encode_struct, pack, unpack
from moorage.runtime.errors import CorruptLog
from moorage.runtime.events import Event, NewEvent

if TYPE_CHECKING:
    from moorage.runtime.commands import Answer, Command

    from .key_ring import KeyRing

SEALED = "moorage.sealed"
"""What stands for what was sealed, where its place wants a name."""

Carry = Callable[[bytes], dict[str, Any]]


def _as_text(sealed: bytes) -> str:
    return f"{SEALED}:{base64.b64encode(sealed).decode()}"


HIDDEN: dict[type[Any], tuple[tuple[str, ...], Carry, Callable[[Any], Any]]] = {
    commands.OpenSession: (
        ("tags", "metadata", "summary", "metadata_update"),
        lambda sealed: {
            "tags": None,
            "metadata": {SEALED: sealed},
            "summary": None,
            "metadata_update": None,
        },
        lambda command: (command.metadata or {}).get(SEALED),
    ),
    commands.Submit: (
        ("input", "metadata", "key"),
        lambda sealed: {"input": sealed, "metadata": None, "key": None},
        lambda command: command.input,
    ),
    commands.AnswerRun: (
        ("value",),
        lambda sealed: {"value": sealed},
        lambda command: command.value,
    ),
    commands.Steer: (
        ("message",),
        lambda sealed: {"message": sealed},
        lambda command: command.message,
    ),
    commands.AppendEvents: (
        ("events",),
        lambda sealed: {"events": (NewEvent(SEALED, sealed),)},
        lambda command: command.events[0].data if len(command.events) == 1 else None,
    ),
    commands.Cancel: (
        ("reason",),
        lambda sealed: {"reason": _as_text(sealed)},
        lambda command: command.reason,
    ),
    commands.Close: (
        ("reason",),
        lambda sealed: {"reason": _as_text(sealed)},
        lambda command: command.reason,
    ),
    commands.SoftDelete: (
        ("reason",),
        lambda sealed: {"reason": _as_text(sealed)},
        lambda command: command.reason,
    ),
}
"""Command -> the fields that are hidden, the fields that carry them, and where they are then."""


def seal_command(ring: KeyRing, session_id: str, command: Command) -> Command:
    """The command as a store may see it."""
    hidden = HIDDEN.get(type(command))
    if hidden is None:
        return command
    names, carry, _ = hidden
    values = [_plain(getattr(command, name)) for name in names]
    sealed = ring.seal(_purpose(command), session_id, pack(values, "the command"))
    return attrs.evolve(command, **carry(sealed))


def open_command(ring: KeyRing, session_id: str, command: Command) -> Command:
    """The command as it was given. Raises KeyUnavailable, and CorruptLog if it was not sealed."""
    hidden = HIDDEN.get(type(command))
    if hidden is None:
        return command
    names, _, carried = hidden
    content = ring.open(_purpose(command), session_id, _bytes(session_id, carried(command)))
    values = dict(zip(names, unpack(content), strict=True))
    if "events" in values:
        values["events"] = tuple(NewEvent(*fields) for fields in values["events"])
    return attrs.evolve(command, **values)


def _purpose(command: Command) -> bytes:
    return b"moorage command " + type(command).__name__.encode()


def _plain(value: Any) -> Any:
    """Events that have no place yet as lists of their fields."""
    if type(value) is tuple:
        return [[event.type, event.data, event.metadata] for event in value]
    return value


def _bytes(session_id: str, carried: Any) -> bytes:
    try:
        if type(carried) is str and carried.startswith(f"{SEALED}:"):
            return base64.b64decode(carried.removeprefix(f"{SEALED}:"), validate=True)
        if type(carried) is bytes:
            return carried
    except binascii.Error:
        pass
    raise CorruptLog(
        file=f"a command to session {session_id!r}", offset=0, reason="it is not encrypted"
    )


def seal_answer(ring: KeyRing, session_id: str, answer: Answer) -> Answer:
    """Events are sealed whole; everything else is what it was."""
    if type(answer) is not list or not all(type(event) is Event for event in answer):
        return answer
    return [
        attrs.evolve(
            event,
            data=ring.seal(b"moorage answer", session_id, encode_struct(event)),
            metadata=None,
        )
        for event in answer
    ]


def open_answer(ring: KeyRing, session_id: str, answer: Answer) -> Answer:
    """Raises KeyUnavailable and CorruptLog."""
    if type(answer) is not list or not all(type(event) is Event for event in answer):
        return answer
    return [
        decode_struct(
            ring.open(b"moorage answer", session_id, _bytes(session_id, event.data)), Event
        )
        for event in answer
    ]
