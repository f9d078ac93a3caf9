"""Whether everything can be opened, and nothing is left of what was to be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moorage.runtime.errors import StoreFailed

from ..health import Findings, inspect_store, walk

if TYPE_CHECKING:
    from ..health import HealthReport
    from .store import EncryptedStore
    from .vault import KeyVault

YOUNG_SECONDS = 3_600.0
"""A session's key is in the vault a moment before the session is there."""


async def inspect(store: EncryptedStore, vault: KeyVault) -> HealthReport:
    """The report of the store inside, and what opening all of it has found. Raises StoreFailed."""
    report = await inspect_store(store.inner)
    findings = Findings()
    findings.add_all(report)
    if not report.sound:  # what is damaged inside cannot be opened either
        findings.sessions, findings.events = report.sessions, report.events
        return findings.report()
    try:
        async with store.reading() as reader:
            await walk(reader, findings)
            async for session_id in vault.sessions(older_than_seconds=YOUNG_SECONDS):
                if session_id and await _inner_info(reader, session_id) is None:
                    findings.risk(
                        f"vault, session {session_id!r}",
                        "its key is still there, and the session is not: it may be readable in a "
                        "copy of the store",
                        "EncryptedStore.sweep_keys() destroys it",
                    )
    except StoreFailed as error:
        if error.code != "key_unavailable":
            raise
        findings.damage("keys", error.message, "give the keys that belong to this store")
    return findings.report()


async def _inner_info(reader: Any, session_id: str) -> Any:
    """As the store inside has it, without opening it."""
    return await reader._reader.info(session_id)
