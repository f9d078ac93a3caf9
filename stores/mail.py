"""Commands and answers as bytes, for stores that bring them to another process.

A command is one of ``moorage.runtime.commands``; an answer is plain data, events, or one of the few
values that commands are answered with; a refusal is a MoorageError, told with its class and its
facts, so that it is raised over there as it was here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from moorage.runtime import errors
from moorage.runtime.codec import check_plain, decode_struct, encode_struct, pack, unpack
from moorage.runtime.commands import Command
from moorage.runtime.errors import InvalidArgument, MoorageError, StoreFailed
from moorage.runtime.events import Event
from moorage.runtime.sessions import DrainReport, SessionStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.commands import Answer
    from moorage.runtime.ports import Answered

COMMANDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Command)}
_STRUCTS: dict[str, type[Any]] = {kind.__name__: kind for kind in (SessionStatus, DrainReport)}


def encode_command(command: Command) -> tuple[str, bytes]:
    """(kind, body) of a command. Raises InvalidArgument for what cannot be told."""
    kind = type(command).__name__
    if kind not in COMMANDS:
        raise InvalidArgument(f"{command!r} cannot be brought to another process")
    try:
        return kind, encode_struct(command)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"a {kind} cannot be brought to another process: {error}") from error


def decode_command(kind: str, body: bytes) -> Command:
    """Raises ValueError for what is none, or one of a later release."""
    if kind not in COMMANDS:
        raise ValueError(f"{kind!r} is no command that this release knows")
    command: Command = decode_struct(body, COMMANDS[kind])
    return command


def encode_answer(answer: Answer) -> bytes:
    """Raises InvalidArgument for what cannot be told."""
    kind = type(answer).__name__
    if kind in _STRUCTS:
        return pack([kind, encode_struct(answer)])
    if type(answer) is list and answer and all(type(item) is Event for item in answer):
        return pack(["events", [encode_struct(event) for event in answer]])
    check_plain(answer, "the answer")
    return pack(["plain", answer])


def encode_refusal(error: MoorageError) -> bytes:
    """Facts that are no plain data are left out."""
    facts = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return pack(["refused", type(error).__name__, [str(part) for part in error.args], facts])


def decode_answer(body: bytes) -> Answer:
    """The answer, or raises what the command was refused with."""
    kind, *rest = unpack(body)
    if kind == "refused":
        raise _refusal(*rest)
    if kind == "events":
        return [decode_struct(event, Event) for event in rest[0]]
    return rest[0] if kind == "plain" else decode_struct(rest[0], _STRUCTS[kind])


def encode_answered(answered: Answered) -> bytes:
    """As it is sent back; an answer that cannot be told is told as a refusal."""
    if isinstance(answered.answer, MoorageError):
        return encode_refusal(answered.answer)
    try:
        return encode_answer(answered.answer)
    except InvalidArgument as error:
        return encode_refusal(error)


def check_answered(answered: Sequence[Answered]) -> None:
    """Raises StoreFailed if a write answers a letter twice: then it was done twice."""
    letters = [item.letter for item in answered]
    if len(set(letters)) < len(letters):
        raise answered_before(", ".join(letters))


def answered_before(letter: str) -> StoreFailed:
    """The refusal of an append that answers to a letter which is no longer its process's."""
    return StoreFailed(
        f"the command {letter} was answered before, or was taken over by another process: nothing "
        "was kept",
        written=False,
    )


def _refusal(name: str, arguments: list[str], facts: dict[str, Any]) -> MoorageError:
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, MoorageError)):
        kind = StoreFailed  # of a later release
        arguments = [f"{name}: {', '.join(arguments)}"]
        facts = {"message": arguments[0], "written": None, "poisoned": False}
    error: MoorageError = kind.__new__(kind, *arguments)
    error.args = tuple(arguments)
    vars(error).update(facts)
    return error


def _is_plain(value: object) -> bool:
    try:
        check_plain(value)
    except InvalidArgument:
        return False
    return True
