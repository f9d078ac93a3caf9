from __future__ import annotations

import sys

import trio
from moorage.adapters.sinks.telemetry import PROMETHEUS_CONTENT_TYPE, RunMetrics, prometheus_text
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore
from prometheus_client.parser import text_string_to_metric_families

SECOND_NS = 1_000_000_000


async def agent(request, context):
    await context.emit("token_usage_updated", {"output_tokens": 5, "cost_usd": 0.5})
    await trio.sleep(3)


def samples(text: str) -> dict:
    """(name, values of its labels in the order of their names) -> value."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def time_ns() -> int:
    return 1_700_000_000 * SECOND_NS + round(trio.current_time() * SECOND_NS)


async def test_everything_is_told_in_prometheus_own_format(autojump_clock) -> None:
    metrics = RunMetrics()
    store = metrics.metered(MemoryStore())
    async with open_supervisor(store, agent, time_ns=time_ns) as supervisor:
        session = await supervisor.session("a")
        first = await session.submit("x")
        await session.submit("x")
        await first.wait()
        await trio.sleep(1)
        found = samples(prometheus_text(supervisor, metrics))

    assert found["moorage_runs_total", "completed"] == 1
    assert found["moorage_runs_total", "interrupted"] == 0
    assert found["moorage_run_seconds_bucket", "2.5", "completed"] == 0
    assert found["moorage_run_seconds_bucket", "5.0", "completed"] == 1
    assert found["moorage_run_seconds_sum", "completed"] == 3
    assert found["moorage_run_seconds_count", "completed"] == 1
    assert found["moorage_queue_seconds_count",] == 1
    assert found["moorage_tokens_total", "output"] == 5
    assert found["moorage_cost_usd_total",] == 0.5
    assert found["moorage_runs_running",] == 1
    assert found["moorage_runs_queued",] == 0
    assert found["moorage_sessions_resident",] == 1
    assert found["moorage_store_appends_total",] > 1
    assert found["moorage_store_append_seconds_count",] > 1
    assert "charset=utf-8" in PROMETHEUS_CONTENT_TYPE


async def test_more_sessions_make_no_more_lines_and_are_not_named(autojump_clock) -> None:
    metrics = RunMetrics()
    async with open_supervisor(metrics.metered(MemoryStore()), agent) as supervisor:
        await (await supervisor.session("secret-0")).execute("x")
        before = prometheus_text(supervisor, metrics)
        for number in range(1, 5):
            await (await supervisor.session(f"secret-{number}")).execute("x")
        after = prometheus_text(supervisor, metrics)

    assert samples(before).keys() == samples(after).keys()
    assert "secret" not in after


async def test_without_counting_there_is_what_the_supervisor_knows(autojump_clock) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        found = samples(prometheus_text(supervisor))
        assert samples(prometheus_text(supervisor.statistics())) == found

    assert found["moorage_sessions_resident",] == 0
    assert found["moorage_loop_blocked_total",] == 0
    assert ("moorage_runs_queued",) not in found


async def test_the_process_is_told_of_if_that_is_wanted(autojump_clock) -> None:
    async with open_supervisor(MemoryStore(), agent) as supervisor:
        without = samples(prometheus_text(supervisor))
        found = samples(prometheus_text(supervisor, process=True))

    added = {name for name, *_ in found.keys() - without.keys()}
    assert "python_info" in added
    assert all(name.startswith(("python_", "process_")) for name in added)
    if sys.platform == "linux":
        assert found["process_open_fds",] > 2
        assert found["process_max_fds",] > 2
