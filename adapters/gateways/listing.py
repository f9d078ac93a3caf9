"""``moorage sessions`` and ``moorage status``: what there is, read beside whoever owns it."""

from __future__ import annotations

import math
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks.text import ago, summary, timestamp
from moorage.runtime import RunState, SessionInfo, SessionStatus

from .chat.places import AGENT_KEY
from .frame import note
from .key_file import check_opened, is_sealed
from .session_holder import describe_holder, holder_of, holder_to_json
from .sources import reading
from .tables import show_facts, show_json, show_table, standard_output
from .waiting_runs import UNKNOWN_AGENT, described, questions_of

if TYPE_CHECKING:
    from .chosen_source import Choice
    from .sources import Source

DELETED = "deleted"
UNFINISHED = (RunState.RUNNING, RunState.CANCELLING, RunState.QUEUED, RunState.WAITING)


async def list_sessions(
    source: Source, *, prefix: str, tags: dict[str, str], deleted: bool = False, as_json: bool
) -> None:
    """Show all sessions, the newest change first; with ``deleted``, hidden ones too."""
    async with (
        reading(source) as reader,
        aclosing_all(reader, prefix, tags, deleted) as sessions,
    ):
        infos = [info async for info in sessions]
    show_sessions(infos, narrowed=bool(prefix or tags), as_json=as_json)


def show_sessions(infos: list[SessionInfo], *, narrowed: bool, as_json: bool) -> None:
    """Show these; ``narrowed`` says that there may be others."""
    if any(map(is_sealed, infos)):
        note("what is encrypted is not shown: --keys FILE opens it")
    if as_json:
        show_json([info_to_json(info) for info in infos])
        return
    if not infos:
        note("no sessions" + (" match" if narrowed else ""))
        return
    now_ns = time.time_ns()
    relative = standard_output().is_terminal
    show_table(
        ["SESSION", "STATE", "RUNS", "EVENTS", "CHANGED", "TAGS", "SUMMARY"],
        [
            [
                info.id,
                info.state.value if info.deleted_at_ns is None else DELETED,
                describe_runs(info.runs),
                str(info.head_seq),
                f"{ago(now_ns, info.modified_at_ns)} ago"
                if relative
                else timestamp(info.modified_at_ns),
                " ".join(f"{name}={value}" for name, value in info.tags.items()),
                info.summary or "",
            ]
            for info in infos
        ],
        numbers=["EVENTS"],
        states="STATE",
        full=["SESSION"],
    )


def aclosing_all(
    reader: Any, prefix: str, tags: dict[str, str], deleted: bool = False
) -> aclosing[Any]:
    """The listing, closed when it is left early."""
    return aclosing(reader.sessions(prefix=prefix, tags=tags or None, include_deleted=deleted))


async def show_status(source: Source, session_id: str, *, choice: Choice, as_json: bool) -> None:
    """Show one session: its state, and which runs are where. ``choice`` is how the source is
    named."""
    async with reading(source) as reader:
        session = reader.session(session_id)
        info = await session.info()
        check_opened(info)
        status = await session.status()
        questions = {} if as_json else await questions_of(session, status)
        held = await holder_of(reader, session_id)
    if as_json:
        told = {name: holder_to_json(holder) for name, holder in held.items()}
        show_json(status_to_json(status, info) | told)
        return
    facts = [
        ("session", status.session_id),
        ("state", status.state.value if info.deleted_at_ns is None else DELETED),
        ("slots", f"{len(status.running)} of {status.slots} in use"),
        ("events", str(status.head_seq)),
        ("runs", describe_runs(info.runs) or "none"),
        ("created", timestamp(info.created_at_ns)),
        ("changed", timestamp(info.modified_at_ns)),
    ]
    facts += [("held by", describe_holder(holder)) for holder in held.values()]
    if info.outcome or info.reason:
        facts.append(("outcome", ": ".join(filter(None, (info.outcome, info.reason)))))
    if info.deleted_at_ns is not None:
        facts.append(("since", f"{timestamp(info.deleted_at_ns)} (undelete brings it back)"))
    if info.expire_after_seconds is not None:
        facts.append(("expires", _expiry(info.expire_after_seconds)))
    if info.summary:
        facts.append(("summary", info.summary))
    facts += [("tag", f"{name}={value}") for name, value in info.tags.items()]
    facts += [("node tag", f"{name}={value}") for name, value in info.node_tags.items()]
    if named := " ".join(filter(None, info.agents)):
        facts.append(("agents", named))
    if info.metadata:
        facts.append(("metadata", summary(info.metadata)))
    cancelling = set(status.cancelling)
    agent = None if AGENT_KEY in info.metadata else UNKNOWN_AGENT
    running = [f"{run} (cancelling)" if run in cancelling else run for run in status.running]
    for name, runs in (
        ("running", running),
        ("queued", status.queued),
        ("waiting", status.waiting),
    ):
        if runs:
            lines = [
                line
                for run in runs
                for line in described(
                    run, questions.get(run.split()[0], ()), session_id, choice, agent
                )
            ]
            facts.append((name, "\n".join(lines)))
    show_facts(facts)


def _expiry(seconds: float) -> str:
    return "never" if seconds == math.inf else f"{seconds:g} s after its last change"


def info_to_json(info: SessionInfo) -> dict[str, Any]:
    """The keys are those of SessionInfo."""
    return attrs.asdict(info, value_serializer=plain_states)


def status_to_json(status: SessionStatus, info: SessionInfo) -> dict[str, Any]:
    """The keys are those of SessionStatus and, as ``info``, of SessionInfo."""
    fields = attrs.asdict(status, value_serializer=plain_states)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    } | {"info": info_to_json(info)}


def plain_states(_: object, attribute: object, value: Any) -> Any:
    """States by name, for ``attrs.asdict``."""
    return getattr(value, "value", value)


def describe_runs(counts: dict[str, int]) -> str:
    """``2 running, 1 queued, 7 completed``: what is unfinished comes first."""
    order = [*UNFINISHED, *(state for state in RunState if state not in UNFINISHED)]
    return ", ".join(
        f"{counts[state.value]} {state.value.replace('_', ' ')}"
        for state in order
        if counts.get(state.value)
    )
