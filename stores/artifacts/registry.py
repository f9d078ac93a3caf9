"""The registry: which artifacts a session has, told by its own log.

Every artifact is an event ``artifact_stored`` of the session, so that the registry is as durable,
as ordered and as well known to every reader as everything else::

    {"artifact": {"key", "bytes", "sha256", "media_type"}, "where": "s3"}      run_id: the run's

The artifact is durable before the event is, and nothing is referred to before its event: a crash in
between leaves an artifact that nobody names, which a sweep finds, and never a name without one.
Totals are in the session's metadata: ``{"artifacts": {"count", "bytes", ...}}``.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from moorage.runtime.errors import CursorExpired, InvalidArgument

from .port import BINARY, ArtifactDamaged
from .references import Reference, folder_of, from_bytes, reference_in

if TYPE_CHECKING:
    from moorage.runtime.events import Event
    from moorage.runtime.sessions import SessionInfo

    from .port import ArtifactStore, Source, Stored

STORED = "artifact_stored"
"""The type of the registry's events."""
TOTALS = "artifacts"
"""The entry of a session's metadata with its totals."""
READ_BYTES_MAX = 64 * 1024 * 1024
_PAGE_EVENTS = 1_000


class SessionHandle(Protocol):
    """What the registry needs of a session: a ``Session``, or what an agent has as
    ``context.session``."""

    @property
    def id(self) -> str: ...

    async def info(self) -> SessionInfo: ...

    async def events(
        self, *, after: int = 0, limit: int = 100, types: set[str] | None = None
    ) -> list[Event]: ...

    async def append(
        self, type: str, data: Any, *, metadata: dict[str, Any] | None = None
    ) -> Event: ...

    async def configure(self, *, metadata_update: dict[str, Any] | None = None) -> None: ...


@attrs.frozen
class Registered:
    """One line of the registry: the artifact, where it is, and whose it is. ``run_id`` is None for
    what a host put."""

    session_id: str
    run_id: str | None
    seq: int
    reference: Reference
    where: str


@attrs.frozen
class Totals:
    """How many artifacts a session has, and how many bytes they are together."""

    count: int = 0
    bytes: int = 0


def new_key(session_id: str) -> str:
    """For an artifact of this session; nobody else has it."""
    return f"{folder_of(session_id)}/{secrets.token_hex(16)}"


def registration(stored: Stored, media_type: str) -> dict[str, Any]:
    """The data of the event that registers it."""
    return {**Reference.of(stored, media_type).to_plain(), "where": stored.where}


async def put_artifact(
    session: SessionHandle, artifacts: ArtifactStore, source: Source, *, media_type: str = BINARY
) -> Reference:
    """Keep ``source`` as an artifact of the session; it is registered and counted on return.

    Inside a run it is registered as the session's, not as the run's: ``with_artifacts`` does the
    latter. Raises what the artifact store and the session raise.
    """
    stored = await artifacts.put(new_key(session.id), source, media_type=media_type)
    await session.append(STORED, registration(stored, media_type))
    await count_artifacts(session)
    return Reference.of(stored, media_type)


async def read_artifact(
    artifacts: ArtifactStore, reference: Reference, *, bytes_max: int = READ_BYTES_MAX
) -> Any:
    """The whole payload: a str, bytes, or the structure that it was. For what is larger than
    ``bytes_max`` there is ``artifacts.get``. Raises InvalidArgument, ArtifactMissing and
    ArtifactDamaged."""
    if reference.bytes > bytes_max:
        raise InvalidArgument(
            f"artifact {reference.key!r} has {reference.bytes} bytes and bytes_max is {bytes_max}: "
            "read it in pieces with get()"
        )
    content = bytearray()
    async with artifacts.get(reference.key, sha256=reference.sha256) as pieces:
        async for piece in pieces:
            content += piece
            if len(content) > reference.bytes:
                raise ArtifactDamaged(
                    reference.key, reason=f"it has more than its {reference.bytes} bytes"
                )
    return from_bytes(bytes(content), reference)


def registered(event: Event) -> Registered | None:
    """What an ``artifact_stored`` event registers, None for anything else."""
    if event.type != STORED or type(event.data) is not dict:
        return None
    reference = reference_in({"artifact": event.data.get("artifact")})
    if reference is None:
        return None
    where = str(event.data.get("where"))
    return Registered(event.session_id, event.run_id, event.seq, reference, where)


async def list_artifacts(session: SessionHandle, *, after: int = 0) -> list[Registered]:
    """The session's registry, in the order in which they came, from what is not trimmed."""
    found: list[Registered] = []
    while True:
        try:
            page = await session.events(after=after, limit=_PAGE_EVENTS, types={STORED})
        except CursorExpired as error:
            after = error.oldest_seq - 1
            continue
        if not page:
            return found
        found += filter(None, map(registered, page))
        after = page[-1].seq


def totals_of(info: SessionInfo) -> Totals:
    """The totals in a session's info, as any listing has it."""
    kept = _kept(info)
    return Totals() if kept is None else Totals(kept["count"], kept["bytes"])


def _kept(info: SessionInfo) -> dict[str, Any] | None:
    """None where there are none, or only those of the session that this one was forked from."""
    kept = info.metadata.get(TOTALS)
    if type(kept) is not dict or kept.get("session_id") != info.id:
        return None
    numbers = [kept.get(name) for name in ("count", "bytes", "until_seq")]
    return kept if all(type(number) is int for number in numbers) else None


async def count_artifacts(session: SessionHandle) -> Totals:
    """Bring the totals in the session's metadata up to what its log has now.

    Counting goes on where it stopped, so it may be done by anybody, at any time, and twice.
    """
    info = await session.info()
    kept = _kept(info) or {"count": 0, "bytes": 0, "until_seq": 0}
    new = await list_artifacts(session, after=kept["until_seq"])
    totals = Totals(
        kept["count"] + len(new), kept["bytes"] + sum(one.reference.bytes for one in new)
    )
    if new:
        entry = {**attrs.asdict(totals), "until_seq": new[-1].seq, "session_id": info.id}
        await session.configure(metadata_update={TOTALS: entry})
    return totals
