from __future__ import annotations

from moorage.adapters.sinks.telemetry.request_totals import AnsweredRequest, RequestTotals
from structlog.testing import capture_logs


def answered(**more) -> AnsweredRequest:
    facts = {
        "operation": "get_run",
        "method": "GET",
        "route": "/v1/runs",
        "scheme": "http",
        "status": 200,
        "seconds": 0.02,
    }
    return AnsweredRequest(**(facts | more))


def test_requests_are_counted_by_operation_and_status():
    totals = RequestTotals()
    for status in (200, 200, 404):
        totals.answered(answered(status=status))
    totals.answered(answered(operation=None, route=None, status=404))
    totals.answered(answered(status=None))

    assert totals.requests == {
        ("get_run", "200"): 2,
        ("get_run", "404"): 1,
        ("unknown", "404"): 1,
        ("get_run", "none"): 1,
    }


def test_times_are_counted_by_operation():
    totals = RequestTotals()
    for seconds in (0.02, 0.3, 100):
        totals.answered(answered(seconds=seconds))
    totals.answered(answered(operation="healthz", seconds=0))

    counts = dict(totals.seconds["get_run"].cumulative())
    assert (counts["0.025"], counts["0.5"], counts["60.0"], counts["+Inf"]) == (1, 2, 2, 3)
    assert totals.seconds["get_run"].sum == 100.32
    assert totals.seconds.keys() == {"get_run", "healthz"}


def test_recorders_are_told_of_each_whatever_another_does():
    told = []

    class Recorder:
        def answered(self, request):
            told.append(request)

    class Broken:
        def answered(self, request):
            raise ZeroDivisionError

    totals = RequestTotals()
    totals.recorders += [Broken(), Recorder()]
    with capture_logs() as logged:
        totals.answered(answered())

    assert told == [answered()]
    assert [entry["event"] for entry in logged] == ["metrics_failed"]
