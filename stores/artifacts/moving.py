"""Moving payloads out of plain data, and bringing them back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from moorage.runtime.codec import pack

from .references import Reference, reference_in, to_bytes
from .registry import READ_BYTES_MAX, read_artifact

if TYPE_CHECKING:
    from moorage.runtime.events import Data

    from .port import ArtifactStore

Keep = Callable[[bytes, str], Awaitable[Reference]]
"""Keeps (content, media type) as an artifact."""

_SMALL = frozenset({type(None), bool, int, float})


def size_of(value: Data) -> int:
    """About how many bytes the value is once encoded, without encoding it; references count as
    little, since moving them would gain nothing."""
    total = 0
    stack = [value]
    while stack:
        item = stack.pop()
        total += 2
        if type(item) is str:
            total += len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass"))
        elif type(item) is bytes:
            total += len(item)
        elif type(item) is dict:
            if "artifact" in item and reference_in(item) is not None:
                continue
            total += sum(len(key) + 1 for key in item if type(key) is str)
            stack += item.values()
        elif type(item) is list:
            stack += item
        else:
            total += 4
    return total


async def move_out(value: Data, keep: Keep, *, over_bytes: int) -> Data:
    """The value with references for its large parts: each text and each bytes of more than
    ``over_bytes``, and the whole of what is still larger. The original is not changed. Raises what
    ``keep`` raises."""
    if size_of(value) <= over_bytes:
        return value
    value = await _moved(value, keep, over_bytes)
    if size_of(value) > over_bytes and reference_in(value) is None:
        content, media_type = to_bytes(value)
        return (await keep(content, media_type)).to_plain()
    return value


async def _moved(value: Data, keep: Keep, over_bytes: int) -> Data:
    if type(value) in _SMALL or size_of(value) <= over_bytes:
        return value
    if type(value) is dict:
        return {key: await _moved(item, keep, over_bytes) for key, item in value.items()}
    if type(value) is list:
        return [await _moved(item, keep, over_bytes) for item in value]
    if type(value) is str or type(value) is bytes:
        content, media_type = to_bytes(value)
        if len(content) > over_bytes:
            return (await keep(content, media_type)).to_plain()
        return value
    pack(value)  # raises, and says what is wrong with it
    return value


async def bring_back(
    value: Data, artifacts: ArtifactStore, *, bytes_max: int = READ_BYTES_MAX
) -> Data:
    """The value with its payloads in the place of their references, as far as they have no more
    than ``bytes_max`` together; the others stay references. Raises ArtifactMissing and
    ArtifactDamaged."""
    return await _Bringing(artifacts, bytes_max).back(value)


class _Bringing:
    def __init__(self, artifacts: ArtifactStore, bytes_max: int) -> None:
        self._artifacts = artifacts
        self._bytes_left = bytes_max

    async def back(self, value: Data) -> Data:
        reference = reference_in(value)
        if reference is not None:
            if reference.bytes > self._bytes_left:
                return value
            self._bytes_left -= reference.bytes
            payload = await read_artifact(self._artifacts, reference, bytes_max=reference.bytes)
            return await self.back(payload)  # a structure may have had references of its own
        if type(value) is dict:
            return {key: await self.back(item) for key, item in value.items()}
        if type(value) is list:
            return [await self.back(item) for item in value]
        return value
