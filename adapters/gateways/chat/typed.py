"""What a person types: messages, commands that begin with a slash, and answers. Pure."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

import attrs
from moorage.runtime import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)


@attrs.frozen
class Message:
    """Something to tell the agent."""

    text: str


@attrs.frozen
class Command:
    """``/name argument``; the argument is stripped, and "" if there is none."""

    name: str
    argument: str = ""


@attrs.frozen
class Verdict:
    """An answer to a tool's request; ``reason`` is told to the agent."""

    approved: bool
    reason: str | None = None


@attrs.frozen
class Usage:
    """How a command is typed, and what it does. One that is not ``any_time`` waits for the run."""

    arguments: str
    meaning: str
    any_time: bool = True


COMMANDS: Mapping[str, Usage] = {
    "help": Usage("", "this list"),
    "status": Usage("", "where the session lives, its settings, what runs"),
    "history": Usage("", "what was said"),
    "label": Usage("NAME [TEXT]", "put a bookmark here"),
    "labels": Usage("", "list the bookmarks and what was said since"),
    "checkpoint": Usage("[TEXT]", "note where the conversation is, to go back to it"),
    "restore": Usage("[ID]", "go back to a checkpoint; without ID list them", any_time=False),
    "fork": Usage("[SEQ]", "go on in a new session that begins like this one", any_time=False),
    "clear": Usage("", "forget what was said; the log keeps it", any_time=False),
    "resume": Usage("[ID]", "go on in another session; without ID list them", any_time=False),
    "model": Usage("[NAME]", "use another model from now on; without NAME the default one"),
    "quit": Usage("", "leave; so do Ctrl-D and two times Ctrl-C"),
}
"""Every command, in the order of the help."""


def read_typed(text: str) -> Message | Command | None:
    """What a line means; None if it is blank.

    What begins with a space is a message, also if a slash follows. Raises InvalidArgument for a
    command that there is none of, or that lacks its argument.
    """
    if not text.strip():
        return None
    match = _COMMAND.fullmatch(text.rstrip())
    if match is None:
        return Message(text.strip())
    name, argument = match[1], (match[2] or "").strip()
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean /{close[0]}? " if close else ""
        raise InvalidArgument(
            f"there is no command /{name}: {hint}/help lists them; a space in front makes it a "
            "message"
        )
    arguments = COMMANDS[name].arguments
    if arguments and not arguments.startswith("[") and not argument:
        raise InvalidArgument(f"/{name} needs an argument: /{name} {arguments}")
    if argument and not arguments:
        raise InvalidArgument(f"/{name} takes no argument, not {argument!r}")
    return Command(name, argument)


def read_verdict(text: str) -> Verdict | None:
    """``y`` or ``yes`` approves, ``n`` or ``no`` denies, anything else denies with that reason.

    What follows ``n`` or ``no`` and a space is a reason, too. None for a blank line, which is no
    answer.
    """
    words = text.strip()
    if not words:
        return None
    first, _, rest = words.partition(" ")
    word = first.lower().rstrip(",.:")
    if word in ("y", "yes") and not rest:
        return Verdict(True)
    if word in ("n", "no"):
        return Verdict(False, rest.strip() or None)
    return Verdict(False, words)


def help_text() -> str:
    """One line for each command, and what else can be done."""
    usages = {f"/{name} {usage.arguments}".rstrip(): usage for name, usage in COMMANDS.items()}
    width = max(map(len, usages))
    lines = [f"  {typed:<{width}}  {usage.meaning}" for typed, usage in usages.items()]
    return "\n".join(
        [
            *lines,
            "While a run is going on, what is typed is given to it on its way, and Ctrl-C cancels",
            "it. A tool's request is answered with y, n, or a reason why not.",
        ]
    )
