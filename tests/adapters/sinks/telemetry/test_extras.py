"""What works where the extras are not installed, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKED = """
import sys
for name in ("opentelemetry", "prometheus_client"):
    sys.modules[name] = None
"""

WITHOUT = (
    BLOCKED
    + """
import tempfile, trio
from moorage.adapters.gateways.auditing import audited
from moorage.adapters.sinks import telemetry
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore

async def agent(request, context):
    return 1

async def main():
    metrics = telemetry.RunMetrics()
    with tempfile.TemporaryDirectory() as folder:
        async with telemetry.AuditLog(folder + "/audit.jsonl") as audit:
            async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
                session = audited(await supervisor.session("a"), audit, actor="ann")
                await session.execute("x")
    print(metrics.totals.runs["completed"])

trio.run(main)
for name in ("with_tracing", "OtelMetrics", "prometheus_text"):
    try:
        getattr(telemetry, name)
    except ImportError as error:
        print(error)
"""
)

QUIET = """
import sys
import moorage.adapters.sinks, moorage.adapters.sinks.telemetry, moorage.runtime
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"opentelemetry", "prometheus_client"}))
from moorage.adapters.sinks.telemetry import with_tracing
print("opentelemetry.sdk" in sys.modules)
"""


def printed(program: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_without_the_extras_the_rest_works_and_what_is_missing_is_named() -> None:
    completed, *missing = printed(WITHOUT)

    assert completed == "1"
    assert [line.partition(":")[0] for line in missing] == [
        "with_tracing needs pip install 'moorage[otel]'",
        "OtelMetrics needs pip install 'moorage[otel]'",
        "prometheus_text needs pip install 'moorage[prometheus]'",
    ]


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    assert printed(QUIET) == ["[]", "False"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    from moorage.adapters.sinks import telemetry

    assert all(getattr(telemetry, name) is not None for name in telemetry.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = telemetry.nonsense
