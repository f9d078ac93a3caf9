"""Every artifact store of ours keeps every promise of the port, and a broken one is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from moorage.stores.artifacts import FileArtifacts, MemoryArtifacts, TieredArtifacts
from moorage.stores.artifacts.conformance import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from moorage.stores.artifacts import S3Artifacts
    from moorage.stores.artifacts.conformance import Check
    from moorage.stores.artifacts.port import Source, Stored

every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@every_check
async def test_memory(check: Check) -> None:
    await check(MemoryArtifacts())


@every_check
async def test_files(check: Check, tmp_path: Path) -> None:
    await check(FileArtifacts(tmp_path / "artifacts"))


@every_check
async def test_s3(check: Check, s3: Callable[..., S3Artifacts]) -> None:
    await check(s3())


@every_check
async def test_s3_below_a_prefix(check: Check, s3: Callable[..., S3Artifacts]) -> None:
    await check(s3(prefix="moorage/artifacts"))


@every_check
async def test_small_ones_in_memory_and_large_ones_in_files(check: Check, tmp_path: Path) -> None:
    await check(TieredArtifacts(MemoryArtifacts(), FileArtifacts(tmp_path), small_bytes_max=2))


class Forgetful(MemoryArtifacts):
    """Keeps half."""

    async def put(self, key: str, source: Source, *, media_type: str = "") -> Stored:
        stored = await super().put(key, source)
        whole = self._kept[key].content
        await super().put(key, whole[: len(whole) // 2])
        return stored


class Eager(MemoryArtifacts):
    """Has it before it is complete."""

    async def put(self, key: str, source: Source, *, media_type: str = "") -> Stored:
        await super().put(key, b"half")
        return await super().put(key, source)


class Clinging(MemoryArtifacts):
    """Deletes nothing."""

    async def delete(self, keys: object) -> None:
        pass


@pytest.mark.parametrize("kind", [Forgetful, Eager, Clinging])
async def test_a_broken_store_is_found_out(kind: type[MemoryArtifacts]) -> None:
    failed = []
    for check in CHECKS:
        try:
            await check(kind())
        except Exception:
            failed.append(check.__name__)

    assert failed, f"{kind.__doc__} passes"
