"""``moorage runs``, ``search`` and ``usage``, and ``sessions`` where it searches: read page by page
beside whoever owns the store.

Where there may be more than ``--limit``, standard error has the cursor for ``--cursor``: in words,
or, with ``--json``, as one line ``{"next_cursor": "..."}``.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks import renderer
from moorage.adapters.sinks.text import summary, timestamp

from .frame import note, write_soon
from .listing import describe_runs, plain_states, show_sessions
from .sources import reading
from .tables import show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime import RunSummary, UsageRow

    from .sources import Source

PAGE_ITEMS_MAX = 1_000
SECOND_NS = 1_000_000_000


async def find_sessions(
    source: Source, *, limit: int | None, cursor: str | None, as_json: bool, **filters: Any
) -> None:
    """Show the sessions that match, in the order asked for."""
    async with reading(source) as reader:
        infos, cursor = await _pages(reader.search_sessions, filters, limit, cursor)
    show_sessions(infos, narrowed=True, as_json=as_json)
    _tell_cursor(cursor, limit, as_json=as_json)


async def list_runs(
    source: Source, *, limit: int | None, cursor: str | None, as_json: bool, **filters: Any
) -> None:
    """Show the runs that match."""
    async with reading(source) as reader:
        runs, cursor = await _pages(reader.search_runs, filters, limit, cursor)
    if as_json:
        show_json([attrs.asdict(run, value_serializer=plain_states) for run in runs])
    elif not runs:
        note("no runs match")
    else:
        show_table(
            [
                "SESSION",
                "RUN",
                "STATE",
                "AGENT",
                "SUBMITTED",
                "QUEUED",
                "RAN",
                "TOKENS",
                "COST",
                "ERROR",
            ],
            [_run_row(run) for run in runs],
            numbers=["QUEUED", "RAN", "TOKENS", "COST"],
            states="STATE",
            full=["SESSION", "RUN"],
        )
    _tell_cursor(cursor, limit, as_json=as_json)


def _run_row(run: RunSummary) -> list[str]:
    usage = run.usage or {}
    tokens = [usage.get(name) for name in ("input_tokens", "output_tokens")]
    known = [count for count in tokens if isinstance(count, (int, float))]
    cost = usage.get("cost_usd")
    return [
        run.session_id,
        run.run_id,
        run.state.value,
        run.agent or "",
        timestamp(run.submitted_at_ns),
        _seconds(run.submitted_at_ns, run.started_at_ns),
        _seconds(run.started_at_ns, run.ended_at_ns),
        f"{sum(known):.0f}" if known else "",
        f"{cost:.4f}" if isinstance(cost, (int, float)) else "",
        run.error_code or "",
    ]


def _seconds(start_ns: int | None, end_ns: int | None) -> str:
    if start_ns is None or end_ns is None:
        return ""
    return f"{(end_ns - start_ns) / SECOND_NS:.1f} s"


async def search_events(
    source: Source, *, limit: int | None, cursor: str | None, as_json: bool, **filters: Any
) -> None:
    """Show the events that match; as JSON one a line, as ``moorage events`` does."""
    async with reading(source) as reader:
        events, cursor = await _pages(reader.search_events, filters, limit, cursor)
    if as_json:
        rendering = renderer("jsonl")
        await write_soon(rendering.render(events) + rendering.finish())
    elif not events:
        note("no events match")
    else:
        show_table(
            ["SESSION", "SEQ", "TIME", "TYPE", "DATA"],
            [
                [
                    event.session_id,
                    str(event.seq),
                    timestamp(event.time_ns),
                    event.type,
                    summary(event.data),
                ]
                for event in events
            ],
            numbers=["SEQ"],
            full=["SESSION"],
        )
    _tell_cursor(cursor, limit, as_json=as_json)


async def show_usage(source: Source, *, by: str, as_json: bool, **filters: Any) -> None:
    """Show tokens, cost and time of the runs that match, grouped."""
    async with reading(source) as reader:
        usage = await reader.usage_summary(by=by, **filters)
    if as_json:
        show_json(attrs.asdict(usage))
        return
    if not usage.rows:
        note("no runs match")
        return
    rows = [_usage_row(row, row.group or "(none)") for row in usage.rows]
    if len(rows) > 1:
        rows.append(_usage_row(usage.total, "TOTAL"))
    heading = by.removeprefix("tag:").upper()
    numbers = ["INPUT", "OUTPUT", "CACHED", "COST", "QUEUED", "RAN"]
    show_table([heading, "RUNS", *numbers], rows, numbers=numbers, full=[heading])
    total = usage.total
    for count, what in (
        (total.runs_without_usage, "tokens"),
        (total.runs_without_cost, "cost"),
    ):
        if count:
            note(f"{count} of {total.runs_started} started runs recorded no {what}")


def _usage_row(row: UsageRow, group: str) -> list[str]:
    return [
        group,
        describe_runs(row.runs),
        f"{row.input_tokens:.0f}",
        f"{row.output_tokens:.0f}",
        f"{row.cache_read_tokens:.0f}",
        _cost(row),
        f"{row.queue_seconds:.1f} s",
        f"{row.run_seconds:.1f} s",
    ]


def _cost(row: UsageRow) -> str:
    """What it cost; ``-`` where no run told of any, for 0 would be an amount."""
    told = row.runs_without_cost < row.runs_started
    # a run that was requeued may have used something and is not started now
    return f"{row.cost_usd:.4f}" if told or row.cost_usd else "-"


async def _pages(
    search: Callable[..., Awaitable[Any]],
    filters: dict[str, Any],
    limit: int | None,
    cursor: str | None,
) -> tuple[list[Any], str | None]:
    """Up to ``limit`` items, or all, and the cursor of what may come behind them."""
    items: list[Any] = []
    while limit is None or len(items) < limit:
        size = PAGE_ITEMS_MAX if limit is None else min(limit - len(items), PAGE_ITEMS_MAX)
        page = await search(limit=size, cursor=cursor, **filters)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    return items, cursor


def _tell_cursor(cursor: str | None, limit: int | None, *, as_json: bool) -> None:
    if cursor is None:
        return
    if as_json:
        with suppress(BrokenPipeError):
            print(json.dumps({"next_cursor": cursor}), file=sys.stderr, flush=True)
    else:
        note(f"there may be more than --limit {limit}: go on with --cursor {cursor}")
