"""What begins with a slash: each command, done to a conversation's session."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from moorage.adapters.sinks.text import ago, shorten, timestamp
from moorage.runtime import InvalidArgument, SessionBusy

from ..listing import describe_runs
from .places import AGENT_KEY, MODEL_KEY, list_here
from .screen import DIM
from .situation import Phase
from .typed import COMMANDS, Command, help_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .conversing import Conversation

LEAVE = ""
"""Where to go on after the conversation: nowhere. No session has this id."""
CHECKPOINT_TEXT = "text"
TEXT_CHARS_MAX = 500
"""Of what is written to a checkpoint."""
_SUMMARY_CHARS = 60


async def perform_command(conversation: Conversation, command: Command) -> str | None:
    """Do what a command says. Returns the id of the session to go on in, LEAVE, or None.

    Raises SessionBusy for what has to wait for the end of a run, and what the session raises.
    """
    situation = conversation.situation
    if not COMMANDS[command.name].any_time and (
        situation.phase is not Phase.IDLE or situation.waiting
    ):
        raise SessionBusy(
            conversation.session.id,
            running=len(situation.running),
            queued=len(situation.queued),
            waiting=len(situation.waiting),
        )
    return await _COMMANDS[command.name](conversation, command.argument)


async def _help(conversation: Conversation, argument: str) -> None:
    await conversation.say(help_text())


async def _status(conversation: Conversation, argument: str) -> None:
    session, situation = conversation.session, conversation.situation
    info = await session.info()
    under_way = [
        f"{len(runs)} {name}"
        for name, runs in (
            ("running", situation.running),
            ("queued", situation.queued),
            ("waiting", situation.waiting),
        )
        if runs
    ]
    facts = {
        "session": session.id,
        "agent": info.metadata.get(AGENT_KEY, "unknown"),
        **{name.replace("_", " "): value for name, value in conversation.options.items()},
        "now": ", ".join(under_way) or "idle",
        "runs": describe_runs(info.runs) or "none",
        "events": str(info.head_seq),
        "begun": timestamp(info.created_at_ns),
    }
    width = max(map(len, facts))
    await conversation.say("\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items()))


async def _history(conversation: Conversation, argument: str) -> None:
    messages = await conversation.session.messages()
    await conversation.show(lambda: conversation.screen.history(messages))
    if not messages:
        await conversation.say("(nothing was said yet)", DIM)


async def _label(conversation: Conversation, argument: str) -> None:
    name, _, text = argument.partition(" ")
    label = await conversation.session.label(name, description=text.strip() or None)
    await conversation.say(f"({label.label} is at {label.seq})", DIM)


async def _labels(conversation: Conversation, argument: str) -> None:
    transcript = await conversation.session.transcript()
    lines = []
    for name, label in transcript.labels.items():
        count = len(transcript.since(name))
        text = f"  {label.description}" if label.description else ""
        lines.append(f"{name}  at {label.seq}, {count} messages since{text}")
    await conversation.say("\n".join(lines) or "(there are no labels)", None if lines else DIM)


async def _checkpoint(conversation: Conversation, argument: str) -> None:
    metadata = {CHECKPOINT_TEXT: shorten(argument, TEXT_CHARS_MAX)} if argument else None
    checkpoint = await conversation.session.checkpoint(metadata=metadata)
    await conversation.say(f"(/restore {checkpoint.checkpoint_id} comes back here)", DIM)


async def _restore(conversation: Conversation, argument: str) -> None:
    if not argument:
        checkpoints = await conversation.session.checkpoints()
        now_ns = time.time_ns()
        lines = [
            f"{point.checkpoint_id}  {ago(now_ns, point.time_ns)} ago  "
            f"{(point.metadata or {}).get(CHECKPOINT_TEXT, '')}".rstrip()
            for point in checkpoints
        ]
        await conversation.say("\n".join(lines) or "(there are no checkpoints)")
        return
    await conversation.session.restore(argument)
    messages = await conversation.session.messages()
    await conversation.say(f"(back where {len(messages)} messages were said)", DIM)


async def _fork(conversation: Conversation, argument: str) -> str:
    seq = None
    if argument:
        if not argument.isascii() or not argument.isdecimal():
            raise InvalidArgument(f"{argument!r} is no seq: give the number of an event")
        seq = int(argument)
    parent = conversation.session
    child = await parent.fork(seq=seq)
    await conversation.say(f"(in the new session {child.id}; /resume {parent.id} goes back)", DIM)
    return child.id


async def _clear(conversation: Conversation, argument: str) -> None:
    await conversation.session.clear()
    await conversation.say("(what was said before is not told to the agent any more)", DIM)


async def _resume(conversation: Conversation, argument: str) -> str | None:
    if argument:
        if argument == conversation.session.id:
            raise InvalidArgument("this is that session")
        return (await conversation.supervisor.session(argument, mode="resume")).id
    infos = await list_here(conversation.supervisor)
    now_ns = time.time_ns()
    lines = [
        f"{'*' if info.id == conversation.session.id else ' '} {info.id}  "
        f"{ago(now_ns, info.modified_at_ns)} ago  {shorten(info.summary or '', _SUMMARY_CHARS)}"
        for info in infos
    ]
    await conversation.say("\n".join(lines))
    return None


async def _model(conversation: Conversation, argument: str) -> None:
    await conversation.session.configure(metadata_update={MODEL_KEY: argument or None})
    if argument:
        conversation.options["model"] = argument
    else:
        conversation.options.pop("model", None)
    await conversation.say(f"(from now on with {argument or 'the default model'})", DIM)


async def _quit(conversation: Conversation, argument: str) -> str:
    return LEAVE


_COMMANDS: Mapping[str, Callable[[Conversation, str], Awaitable[str | None]]] = {
    "help": _help,
    "status": _status,
    "history": _history,
    "label": _label,
    "labels": _labels,
    "checkpoint": _checkpoint,
    "restore": _restore,
    "fork": _fork,
    "clear": _clear,
    "resume": _resume,
    "model": _model,
    "quit": _quit,
}
