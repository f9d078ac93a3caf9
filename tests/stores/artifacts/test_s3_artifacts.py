"""A real S3 server that fails: 500, 503, lost connections, bodies that end early."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from moorage.runtime.errors import InvalidArgument
from moorage.stores.artifacts import ArtifactMissing, ArtifactsFailed, ArtifactsRefused

from tests.stores.artifacts.faulty_front import CutBody, Drop, FaultyFront, ShortBody, Status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from moorage.stores.artifacts import S3Artifacts

    OpenS3 = Callable[..., S3Artifacts]

PIECE = bytes(range(256)) * 4096  # 1 MiB


async def read(artifacts: S3Artifacts, key: str, sha256: str | None = None) -> bytes:
    async with artifacts.get(key, sha256=sha256) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize(
    "faults",
    [
        [Status(500), Status(503), Status(500)],
        [Status(429)],
        [Drop(), Drop()],
        [Drop(after=True)],
        [Status(500), Drop(), Status(503)],
    ],
    ids=str,
)
async def test_every_call_outlives_a_few_failures(
    s3: OpenS3, front: FaultyFront, faults: list[Status | Drop]
) -> None:
    artifacts = s3(endpoint=front.url)
    with trio.fail_after(60):
        front.faults = list(faults)
        stored = await artifacts.put("s/a", b"content")
        assert front.faults == []
        front.faults = list(faults)
        assert await read(artifacts, "s/a", stored.sha256) == b"content"
        front.faults = list(faults)
        assert [listed.key async for listed in artifacts.contents()] == ["s/a"]
        front.faults = list(faults)
        await artifacts.delete(["s/a"])

        assert await artifacts.size("s/a") is None


async def test_a_body_that_ends_early_is_asked_for_again(s3: OpenS3, front: FaultyFront) -> None:
    artifacts = s3(endpoint=front.url)
    stored = await artifacts.put("s/a", PIECE)
    front.methods = {"GET"}
    front.faults = [CutBody(), CutBody()]

    with trio.fail_after(60):
        content = await read(artifacts, "s/a", stored.sha256)

    assert content == PIECE
    assert front.faults == []


async def test_a_large_upload_outlives_failures_between_its_parts(
    s3: OpenS3, front: FaultyFront
) -> None:
    artifacts = s3(endpoint=front.url, part_bytes=5 * 2**20)
    front.methods = {"PUT"}
    front.faults = [Status(500), Drop()]

    async def source() -> AsyncGenerator[bytes]:
        for _ in range(12):
            yield PIECE

    with trio.fail_after(60):
        stored = await artifacts.put("s/large", source())
        content = await read(artifacts, "s/large", stored.sha256)

    assert len(content) == stored.bytes == 12 * len(PIECE)
    assert front.faults == []
    assert sum(line.startswith("PUT") for line in front.requests) >= 5


async def test_failures_without_end_are_told_after_a_bounded_number_of_tries(
    s3: OpenS3, front: FaultyFront
) -> None:
    artifacts = s3(endpoint=front.url, retries_max=2)
    front.faults = [Status(503)] * 1_000
    calls = (
        lambda: artifacts.put("s/a", b"content"),
        lambda: artifacts.size("s/a"),
        lambda: artifacts.delete(["s/a"]),
        lambda: read(artifacts, "s/a"),
    )

    with trio.fail_after(60):
        for call in calls:
            before = len(front.requests)
            with pytest.raises(ArtifactsFailed) as caught:
                await call()
            assert caught.value.retryable
            assert len(front.requests) - before == 3


@pytest.mark.parametrize("fault", [CutBody(), ShortBody()], ids=str)
async def test_a_body_that_always_ends_early_is_told(
    s3: OpenS3, front: FaultyFront, fault: CutBody | ShortBody
) -> None:
    artifacts = s3(endpoint=front.url, retries_max=1)
    await artifacts.put("s/a", PIECE)
    front.methods = {"GET"}
    front.faults = [fault] * 1_000

    with trio.fail_after(60), pytest.raises(ArtifactsFailed):
        await read(artifacts, "s/a")


async def test_a_bucket_that_is_not_there_is_a_refusal(s3: OpenS3) -> None:
    with pytest.raises(ArtifactsRefused, match="no bucket 'no-such-bucket'"):
        await s3("no-such-bucket").put("s/a", b"content")


async def test_nobody_who_listens_is_a_failure(s3: OpenS3) -> None:
    artifacts = s3("bucket", endpoint="http://127.0.0.1:9", retries_max=1)

    with trio.fail_after(60), pytest.raises(ArtifactsFailed, match="bucket 'bucket'"):
        await artifacts.put("s/a", b"content")


async def test_what_is_missing_in_the_middle_of_reading_is_told(s3: OpenS3) -> None:
    artifacts = s3(part_bytes=5 * 2**20)
    await artifacts.put("s/a", PIECE * 6)

    with pytest.raises(ArtifactMissing):
        async with artifacts.get("s/a") as pieces:
            async for _ in pieces:
                await artifacts.delete(["s/a"])


async def test_settings_that_cannot_work_are_refused() -> None:
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    from moorage.stores.artifacts import S3Artifacts

    with pytest.raises(InvalidArgument, match="part_bytes"):
        S3Artifacts("bucket", part_bytes=1)
    with pytest.raises(InvalidArgument, match="key"):
        S3Artifacts("bucket", prefix="../up")
    with pytest.raises(InvalidArgument, match="retries_max"):
        S3Artifacts("bucket", retries_max=-1)
    for endpoint in ("", "nonsense", "ftp://host", "http://", "http:///path"):
        with pytest.raises(InvalidArgument, match="endpoint"):
            S3Artifacts("bucket", endpoint=endpoint)
    for bucket in ("", "ab", "a/b", 5):
        with pytest.raises(InvalidArgument, match="bucket"):
            S3Artifacts(bucket)  # type: ignore[arg-type]
