"""Whether every artifact that an event names is there, and is what was put."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moorage.runtime.errors import CorruptLog, CursorExpired, UnknownSession

from ..health import Findings, place_of
from .port import ArtifactDamaged, ArtifactMissing
from .references import references_in
from .registry import registered
from .removal import sweep_artifacts

if TYPE_CHECKING:
    from moorage.runtime.ports import StoreReader

    from .port import ArtifactStore
    from .references import Reference

_PAGE_EVENTS = 1_000
_RESTORE = "restore it from a backup; what refers to it cannot be read until then"


async def check_artifacts(
    artifacts: ArtifactStore, reader: StoreReader, findings: Findings
) -> None:
    """Read every artifact that any session refers to, and look for those that none does. Raises
    StoreFailed and ArtifactsFailed."""
    seen: set[Reference] = set()
    async for info in reader.sessions():
        try:
            await _check_session(artifacts, reader, info.id, findings, seen)
        except UnknownSession:
            continue  # deleted meanwhile
        except CorruptLog as error:
            findings.corrupt(error)
    findings.facts["artifacts"] = len(seen)
    report = await sweep_artifacts(artifacts, reader, dry_run=True)
    for kind, keys in (
        ("a session that does not exist", report.orphans),
        ("no event, which a crash left", report.unnamed),
    ):
        for key in keys:
            findings.risk(f"artifact {key!r}", f"it is of {kind}", "sweep_artifacts() removes it")


async def _check_session(
    artifacts: ArtifactStore,
    reader: StoreReader,
    session_id: str,
    findings: Findings,
    seen: set[Reference],
) -> None:
    after = 0
    while True:
        try:
            page = await reader.read(session_id, after=after, limit=_PAGE_EVENTS)
        except CursorExpired as error:
            after = error.oldest_seq - 1
            continue
        for event in page.events:
            line = registered(event)
            named = references_in(event.data) if line is None else [line.reference]
            for reference in named:
                if reference not in seen:
                    seen.add(reference)
                    place = f"artifact {reference.key!r}, {place_of(session_id, event.seq)}"
                    await _check(artifacts, reference, place, findings)
        if page.scanned_to >= page.head_seq:
            return
        after = page.scanned_to


async def _check(
    artifacts: ArtifactStore, reference: Reference, place: str, findings: Findings
) -> None:
    size = 0
    try:
        async with artifacts.get(reference.key, sha256=reference.sha256) as pieces:
            async for piece in pieces:
                size += len(piece)
    except ArtifactMissing:
        findings.damage(place, f"it is not in {artifacts.name}", _RESTORE)
    except ArtifactDamaged as error:
        findings.damage(place, error.reason, _RESTORE)
    else:
        if size != reference.bytes:
            problem = f"it has {size} bytes and was put with {reference.bytes}"
            findings.damage(place, problem, _RESTORE)
