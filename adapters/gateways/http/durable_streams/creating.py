"""Creating a stream, or finding that it is there as it is wanted; forks among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import SessionDeleted, UnknownSession

from ..problems import MalformedRequest, StreamConflict
from .configs import StreamConfig, config_of
from .content import OCTETS, cut, media_type, octets, size
from .offsets import NOW, read_offset
from .refusals import ContentTypeMismatch
from .removal import confirm, register, release
from .states import Write

if TYPE_CHECKING:
    from .content import Content
    from .reading import View
    from .registry import DurableStreams

SUB_OFFSET_READ_BYTES = 1024 * 1024


@attrs.frozen(kw_only=True)
class Fork:
    """What to inherit: ``source`` up to ``offset`` (None: all of it), and of what was appended
    next ``sub_offset`` bytes or messages."""

    source: str
    offset: str | None = None
    sub_offset: int = 0


@attrs.frozen(kw_only=True)
class Wanted:
    """A stream as a request wants it to be; None is what the request leaves open."""

    content_type: str | None = None
    ttl_seconds: int | None = None
    expires_at: str | None = None
    expires_at_ns: int | None = None
    fork: Fork | None = None
    body: bytes = b""
    closes: bool = False

    def is_met_by(self, view: View) -> bool:
        """Whether creating it would have made the stream that is there."""
        config, fork = view.config, self.fork
        if config is None or (self.closes and not view.closed):
            return False
        if (config.forked_from, config.fork_offset, config.fork_sub_offset) != (
            (None, None, 0) if fork is None else (fork.source, fork.offset, fork.sub_offset)
        ):
            return False
        given = self.content_type or (OCTETS if fork is None else config.content_type)
        if media_type(given) != media_type(config.content_type):
            return False
        inherits = fork is not None and self.ttl_seconds is None and self.expires_at is None
        return inherits or (self.ttl_seconds, self.expires_at_ns) == (
            config.ttl_seconds,
            config.expires_at_ns,
        )


async def create(streams: DurableStreams, id: str, wanted: Wanted) -> tuple[View, bool]:
    """The stream, and whether it was made by this. Raises StreamConflict if the id is taken by
    something else, UnknownSession for a source that is not there, ContentTypeMismatch for one of
    another type, and MalformedRequest for a place that it does not have."""
    while True:
        found = await _existing(streams, id)
        if found is not None:
            if wanted.is_met_by(found):
                return found, False
            raise StreamConflict(
                f"{id!r} is there, and not as it is wanted"
                if found.config is not None
                else f"{id!r} is a session with runs, which cannot be written to as a stream"
            )
        made = await _make(streams, id, wanted)
        if made is not None:
            return made, True


async def _existing(streams: DurableStreams, id: str) -> View | None:
    try:
        return await streams.view(id)
    except UnknownSession:
        return None
    except SessionDeleted as error:
        raise StreamConflict(f"{id!r} is deleted, and its id not free: {error}") from error


async def _make(streams: DurableStreams, id: str, wanted: Wanted) -> View | None:
    if wanted.fork is None:
        config = _config(wanted, wanted.content_type or OCTETS)
        return await streams.make(id, config, _writes(config, wanted, []))
    fork = wanted.fork
    try:
        source = await streams.view(fork.source)
    except SessionDeleted as error:
        raise StreamConflict(f"{fork.source!r} is deleted, and not to be forked") from error
    config, prefix = await _forked(source, wanted, fork)
    writes = _writes(config, wanted, prefix)
    supervisor, made = streams.supervisor, None
    await register(supervisor, fork.source, id, streams.time_ns())
    try:
        made = await streams.make(id, config, writes)
    finally:
        if made is None and await _is_free(streams, id, fork.source):
            await release(supervisor, fork.source, id, streams.time_ns)
    if made is not None:
        await confirm(supervisor, fork.source, id)
    return made


async def _is_free(streams: DurableStreams, id: str, source: str) -> bool:
    """Whether nobody else makes the same fork, or has, which the source has to know."""
    try:
        config = config_of(await streams.supervisor.handle(id).info())
    except UnknownSession:
        return True
    return config is None or config.forked_from != source


async def _forked(source: View, wanted: Wanted, fork: Fork) -> tuple[StreamConfig, list[Content]]:
    above = source.config
    if above is None:
        raise StreamConflict(
            f"{fork.source!r} is a session with runs: fork it as a session, with POST "
            f"/v1/sessions/ID/forks"
        )
    given = wanted.content_type
    if given is not None and media_type(given) != media_type(above.content_type):
        raise ContentTypeMismatch(expected=above.content_type, given=given)
    position = source.tail
    if fork.offset is not None and fork.offset != NOW:
        position = read_offset(fork.offset)
    if position > source.tail:
        raise MalformedRequest("Stream-Fork-Offset is behind the end of the stream")
    prefix = await _prefix(source, position, fork.sub_offset) if fork.sub_offset else []
    config = attrs.evolve(
        _config(wanted, above.content_type),
        forked_from=fork.source,
        fork_position=position,
        fork_offset=fork.offset,
        fork_sub_offset=fork.sub_offset,
    )
    if wanted.ttl_seconds is None and wanted.expires_at is None:
        config = attrs.evolve(
            config,
            ttl_seconds=above.ttl_seconds,
            expires_at=above.expires_at,
            expires_at_ns=above.expires_at_ns,
        )
    return config, prefix


async def _prefix(source: View, position: int, count: int) -> list[Content]:
    """The first ``count`` bytes or messages of what was appended behind ``position``."""
    taken: list[Content] = []
    left, at = count, await source.start(position)
    while True:
        pieces, at = await source.read(at, bytes_max=SUB_OFFSET_READ_BYTES)
        for piece in pieces:
            content = piece.content or b""
            there = size(source.content_type, content) if content else 0
            if there > left:
                taken.append(octets(content)[:left])
                return taken
            if content:
                taken.append(content)
                left -= there
            if not left:
                return taken
            if piece.ends:
                break
        else:
            if pieces:
                continue
        raise MalformedRequest(
            f"Stream-Fork-Sub-Offset is {count}, which is {left} more than was appended there"
        )


def _config(wanted: Wanted, content_type: str) -> StreamConfig:
    return StreamConfig(
        content_type=content_type,
        ttl_seconds=wanted.ttl_seconds,
        expires_at=wanted.expires_at,
        expires_at_ns=wanted.expires_at_ns,
    )


def _writes(config: StreamConfig, wanted: Wanted, prefix: list[Content]) -> list[Write]:
    """What is in it from the beginning. Raises MalformedRequest."""
    writes = [Write(contents=tuple(prefix))]
    contents = tuple(cut(config.content_type, wanted.body))
    writes.append(Write(contents=contents, closes=wanted.closes))
    return writes
