"""Whether the keys of all sessions are there, and whether the server keeps what it acknowledges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coredis.exceptions import RedisError
from moorage.runtime.errors import StoreFailed

from ..health import Findings, place_of, walk
from .server import LOST, NO_EVICTION

if TYPE_CHECKING:
    from ..health import HealthReport
    from .reading import RedisReader
    from .server import RedisServer

_PARTS = {"l": "events", "r": "places of runs", "k": "idempotency keys", "c": "cursors"}
"""Kind of a key -> what it has of a session that exists."""
_EVICTED = (
    "restore a backup of the server's data; what was evicted is gone, so set maxmemory-policy to "
    "noeviction"
)


async def inspect(reader: RedisReader, *, expires: bool) -> HealthReport:
    """Read and check everything, beside all processes. ``expires`` says that sessions are forgotten
    after a while. Raises StoreFailed."""
    findings, server = Findings(), reader._server
    try:
        await _check_settings(server, findings)
        session_ids = await _check_keys(server, findings, expires=expires)
    except LOST as error:
        raise StoreFailed(f"{server.place} cannot be checked: {error}", written=False) from error
    await walk(reader, findings, session_ids)
    return findings.report()


async def _check_settings(server: RedisServer, findings: Findings) -> None:
    persistence = await server.client.info("persistence")
    memory = await server.client.info("memory")
    findings.facts["bytes"] = memory.get("used_memory", 0)
    policy = str(memory.get("maxmemory_policy", NO_EVICTION))
    if policy != NO_EVICTION:
        findings.risk(
            "server setting maxmemory-policy",
            f"it is {policy}: the server takes events out of sessions when it needs room",
            f"CONFIG SET maxmemory-policy {NO_EVICTION}, and in the server's configuration",
        )
    if not int(str(persistence.get("aof_enabled", 0))):
        findings.risk(
            "server setting appendonly",
            "it is no: everything since the last dump is lost when the server ends",
            "CONFIG SET appendonly yes, and in the server's configuration",
        )
    elif (sync := await _setting(server, "appendfsync")) not in (None, "always"):
        findings.risk(
            "server setting appendfsync",
            f"it is {sync}: the last second or more is lost when the server loses power",
            "CONFIG SET appendfsync always, and in the server's configuration",
        )
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        status = str(persistence.get(name, "ok"))
        if status != "ok":
            findings.damage(
                f"server, {name}", f"it is {status}", "see the server's log: its disk may be full"
            )


async def _setting(server: RedisServer, name: str) -> str | None:
    """None where the server does not tell."""
    try:
        found = await server.client.config_get([name])
    except RedisError:
        return None
    value = next(iter(found.values()), None)
    return value.decode() if isinstance(value, bytes) else value


async def _check_keys(server: RedisServer, findings: Findings, *, expires: bool) -> list[str]:
    """Returns the sessions that exist."""
    prefix = server.key_prefix
    existing: list[str] = []
    listed = set(await server.listed())
    for key in await server.found("s:"):
        session_id = key.removeprefix(f"{prefix}s:")
        if not await server.client.hexists(key, "info"):
            continue
        existing.append(session_id)
        if session_id not in listed:
            findings.damage(
                place_of(session_id),
                "it is not among the sessions that are listed",
                "copy it into another store: moorage copy --session ID",
            )
    there = set(existing)
    for session_id in sorted(listed - there):
        if not expires:
            findings.damage(place_of(session_id), "it is listed and its key is gone", _EVICTED)
    for kind, what in _PARTS.items():
        for key in await server.found(f"{kind}:"):
            session_id = key.removeprefix(f"{prefix}{kind}:")
            if session_id not in there and not expires:
                findings.damage(
                    f"key {key!r}",
                    f"{what} of a session that does not exist, or was deleted",
                    f"DEL {key}",
                )
    return existing
