"""``moorage sessions`` and ``moorage status``: what there is, read beside whoever owns it."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks.text import ago, summary, timestamp
from moorage.runtime import RunState, SessionInfo, SessionStatus, open_reader

from .frame import note
from .tables import show_facts, show_json, show_table, standard_output

if TYPE_CHECKING:
    from moorage.stores import JournalStore

UNFINISHED = (RunState.RUNNING, RunState.CANCELLING, RunState.QUEUED, RunState.WAITING)


async def list_sessions(
    store: JournalStore, *, prefix: str, tags: dict[str, str], limit: int | None, as_json: bool
) -> None:
    """Show sessions, the newest change first."""
    infos: list[SessionInfo] = []
    more = False
    async with open_reader(store) as reader, aclosing_all(reader, prefix, tags) as sessions:
        async for info in sessions:
            if limit is not None and len(infos) >= limit:
                more = True
                break
            infos.append(info)
    if as_json:
        show_json([info_to_json(info) for info in infos])
        return
    if not infos:
        note("no sessions" + (" match" if prefix or tags else ""))
        return
    now_ns = time.time_ns()
    relative = standard_output().is_terminal
    show_table(
        ["SESSION", "STATE", "RUNS", "EVENTS", "CHANGED", "TAGS", "SUMMARY"],
        [
            [
                info.id,
                info.state.value,
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
    if more:
        note(f"there are more than --limit {limit}")


def aclosing_all(reader: Any, prefix: str, tags: dict[str, str]) -> aclosing[Any]:
    """The listing, closed when it is left early."""
    return aclosing(reader.sessions(prefix=prefix, tags=tags or None))


async def show_status(store: JournalStore, session_id: str, *, as_json: bool) -> None:
    """Show one session: its state, and which runs are where."""
    async with open_reader(store) as reader:
        session = reader.session(session_id)
        info = await session.info()
        status = await session.status()
    if as_json:
        show_json(status_to_json(status, info))
        return
    facts = [
        ("session", status.session_id),
        ("state", status.state.value),
        ("slots", f"{len(status.running)} of {status.slots} in use"),
        ("events", str(status.head_seq)),
        ("runs", describe_runs(info.runs) or "none"),
        ("created", timestamp(info.created_at_ns)),
        ("changed", timestamp(info.modified_at_ns)),
    ]
    if info.outcome or info.reason:
        facts.append(("outcome", ": ".join(filter(None, (info.outcome, info.reason)))))
    if info.summary:
        facts.append(("summary", info.summary))
    facts += [("tag", f"{name}={value}") for name, value in info.tags.items()]
    if info.metadata:
        facts.append(("metadata", summary(info.metadata)))
    cancelling = set(status.cancelling)
    running = [f"{run} (cancelling)" if run in cancelling else run for run in status.running]
    for name, runs in (
        ("running", running),
        ("queued", status.queued),
        ("waiting", status.waiting),
    ):
        if runs:
            facts.append((name, "\n".join(runs)))
    show_facts(facts)


def info_to_json(info: SessionInfo) -> dict[str, Any]:
    """The keys are those of SessionInfo."""
    return attrs.asdict(info, value_serializer=_plain_states)


def status_to_json(status: SessionStatus, info: SessionInfo) -> dict[str, Any]:
    """The keys are those of SessionStatus and, as ``info``, of SessionInfo."""
    fields = attrs.asdict(status, value_serializer=_plain_states)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()
    } | {"info": info_to_json(info)}


def _plain_states(_: object, attribute: object, value: Any) -> Any:
    return getattr(value, "value", value)


def describe_runs(counts: dict[str, int]) -> str:
    """``2 running, 1 queued, 7 completed``: what is unfinished comes first."""
    order = [*UNFINISHED, *(state for state in RunState if state not in UNFINISHED)]
    return ", ".join(
        f"{counts[state.value]} {state.value.replace('_', ' ')}"
        for state in order
        if counts.get(state.value)
    )
