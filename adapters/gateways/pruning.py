"""``moorage prune``: delete and trim what a policy says, in a store that nobody serves."""

from __future__ import annotations

import json
import math
import tomllib
from typing import TYPE_CHECKING, Any

import attrs
from moorage.runtime import (
    InvalidArgument,
    RetentionPolicy,
    RetentionReport,
    SupervisorLimits,
    open_reader,
    retention_policy,
)

from .frame import EXIT_FAILED, note
from .removing import confirm
from .sources import maintained
from .tables import show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from moorage.runtime.ports import Store

FAST = SupervisorLimits(retention_sessions_per_second_max=math.inf)
"""Nobody is served whom it could slow down."""
POLICY_BYTES_MAX = 1024 * 1024
_DONE = {"delete": "deleted", "soft_delete": "hidden", "trim": "trimmed"}
_TO_DO = {"delete": "delete", "soft_delete": "hide", "trim": "trim"}


def read_policy(file: Path) -> dict[str, Any]:
    """The plain data in a TOML or JSON file. Raises InvalidArgument, and OSError."""
    content = file.read_bytes()
    if len(content) > POLICY_BYTES_MAX:
        raise InvalidArgument(f"{str(file)!r} has more than {POLICY_BYTES_MAX} bytes")
    try:
        text = content.decode()
        data = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        kind = "JSON" if file.suffix == ".json" else "TOML"
        raise InvalidArgument(f"{str(file)!r} is no {kind}: {error}") from error
    if not isinstance(data, dict):
        raise InvalidArgument(f"{str(file)!r} must have names with values, as a policy has")
    return data


def policy_of(
    file: Mapping[str, Any],
    *,
    covers: Mapping[str, Any],
    conditions: Mapping[str, Any],
    trims: Mapping[str, Any],
    soft: bool = False,
    exempt_tags: Sequence[str] = (),
    purge_after: str | None = None,
) -> RetentionPolicy:
    """A file's policy and what the command line adds to it: a rule that deletes, one that trims.

    Raises InvalidArgument."""
    covers, conditions, trims = _given(covers), _given(conditions), _given(trims)
    rules = list(file.get("rules", []))
    if conditions or (covers and not trims):
        action = {"action": "soft_delete" if soft else "delete"}
        rules.append({**action, **covers, **conditions})
    if trims:
        rules.append({"action": "trim", **covers, **trims})
    added: dict[str, Any] = {
        "rules": rules,
        "exempt_tags": [*file.get("exempt_tags", []), *exempt_tags],
    }
    if purge_after is not None:
        added["purge_after"] = purge_after
    if soft:
        added.setdefault("on_expiry", file.get("on_expiry", "soft_delete"))
    return retention_policy({**file, **added})


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value not in (None, "", [], {})}


async def prune(
    store: Store, policy: RetentionPolicy, *, dry_run: bool, sure: bool, as_json: bool
) -> int:
    """Do what the policy says, after asking unless ``sure``; a ``dry_run`` only shows it, beside a
    live owner too. Returns 1 if a session could not be deleted or trimmed.

    Raises SessionHeld if another process owns the store. Of a store that is shared, sessions that
    live nodes have are left to those.
    """
    if dry_run or not sure:
        async with open_reader(store) as reader:
            planned = await reader.preview_retention(policy)
        if dry_run:
            return _show(planned, as_json)
        if not planned.entries:
            return _show(attrs.evolve(planned, dry_run=False), as_json)
        counts = _counts(planned, _TO_DO)
        confirm(f"This would {counts} and free {planned.freed_bytes:,} bytes. Do it?")
    async with maintained(store, "prune", FAST) as maintenance:
        report = await maintenance.apply_retention(policy)
    return _show(report, as_json)


def _counted(report: RetentionReport) -> str:
    """``deleted 2, trimmed 1 session and freed 1,234 bytes``."""
    counts = _counts(report, _DONE) or "deleted nothing"
    return f"{counts} and freed {report.freed_bytes:,} bytes"


def _counts(report: RetentionReport, words: Mapping[str, str]) -> str:
    return ", ".join(
        f"{word} {count} session{'s' * (count != 1)}"
        for action, word in words.items()
        if (count := len(report.ids(action)))  # type: ignore[arg-type]
    )


def _show(report: RetentionReport, as_json: bool) -> int:
    if as_json:
        facts = ("deleted", "soft_deleted", "trimmed", "freed_bytes")
        show_json({**attrs.asdict(report), **{name: getattr(report, name) for name in facts}})
    else:
        _show_table(report)
    return EXIT_FAILED if report.problems else 0


def _show_table(report: RetentionReport) -> None:
    rows = [
        [entry.session_id, entry.action, f"{entry.bytes:,}", entry.reason]
        for entry in report.entries
    ]
    rows += [[spared.session_id, "spared", "", spared.reason] for spared in report.spared]
    rows += [[one.session_id, "FAILED", "", one.message] for one in report.problems]
    if rows:
        show_table(
            ["SESSION", "ACTION", "BYTES", "REASON"],
            rows,
            numbers=["BYTES"],
            full=["SESSION", "ACTION"],
        )
    would = "would have " if report.dry_run else ""
    sessions = f"{report.sessions} session{'s' * (report.sessions != 1)}"
    note(f"{would}{_counted(report)}, of {sessions}")
