"""A real S3 server for the tests, started when the first one asks for it."""

from __future__ import annotations

import itertools
import os
import select
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.stores.artifacts.faulty_front import FaultyFront

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from moorage.stores.artifacts import S3Artifacts

VARIABLE = "MOORAGE_TEST_S3"
"""URL of a server of one's own, which takes any credentials or those of the AWS variables."""

SERVER = """
import logging, sys, threading
logging.disable(logging.CRITICAL)
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
START_SECONDS_MAX = 60


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    own = os.environ.get(VARIABLE)
    if own:
        yield own
        return
    pytest.importorskip(
        "moto", reason="the S3 server of the tests is moto: pip install moto[server]"
    )
    log: Path = tmp_path_factory.mktemp("s3") / "log"
    with open(log, "wb") as errors:
        # it ends when its standard input does, so also with a test run that is killed
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    assert process.stdin is not None
    ready, _, _ = select.select([process.stdout], [], [], START_SECONDS_MAX)
    port = process.stdout.readline().decode().strip() if ready else ""
    if not port:
        process.kill()
        process.wait()
        raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2_000:]}")
    yield f"http://127.0.0.1:{port}"
    process.stdin.close()
    process.stdout.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_numbers = itertools.count(1)


@pytest.fixture
def new_bucket(s3_url: str) -> Callable[[], str]:
    """Makes a bucket that nobody else has; returns its name."""

    def make() -> str:
        name = f"moorage-{os.getpid()}-{next(_numbers)}"
        request = urllib.request.Request(f"{s3_url}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        return name

    return make


@pytest.fixture
def s3(s3_url: str, new_bucket: Callable[[], str]) -> Callable[..., S3Artifacts]:
    """Opens artifacts in a new bucket; what is given beats the defaults of a test."""
    pytest.importorskip("obstore", reason="the extra s3 is not installed")
    from moorage.stores.artifacts import S3Artifacts

    def open_artifacts(bucket: str | None = None, **changes: object) -> S3Artifacts:
        settings: dict[str, object] = {
            "endpoint": s3_url,
            "region": "us-east-1",
            "access_key_id": os.environ.get("AWS_ACCESS_KEY_ID", "test"),
            "secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", "test"),
            "timeout_seconds": 60.0,
        }
        settings.update(changes)
        return S3Artifacts(bucket or new_bucket(), **settings)  # type: ignore[arg-type]

    return open_artifacts


@pytest.fixture
async def front(s3_url: str) -> AsyncIterator[FaultyFront]:
    """A server before the real one that fails as it is told."""
    async with FaultyFront.serving(s3_url) as serving:
        yield serving
