from __future__ import annotations

import pytest
from moorage.adapters.sinks.telemetry import trace_headers, trace_metadata
from moorage.adapters.sinks.telemetry.trace_context import FIELD_CHARS_MAX, parent_in
from opentelemetry import trace

FAR = f"00-{'1' * 32}-{'2' * 16}-01"
OTHER = f"00-{'3' * 32}-{'4' * 16}-00"


def parent_of(metadata):
    return trace.get_current_span(parent_in(metadata)).get_span_context()


def test_the_current_span_becomes_the_parent(spans) -> None:
    with spans.provider.get_tracer("t").start_as_current_span("s") as span:
        metadata = trace_metadata({"who": "me"}, headers={"traceparent": FAR})

    found = parent_of(metadata)
    assert metadata.keys() == {"who", "traceparent"}
    assert found.span_id == span.get_span_context().span_id
    assert found.is_remote


def test_without_a_current_span_that_of_the_headers_does() -> None:
    headers = {"traceparent": FAR, "tracestate": "a=b", "cookie": "secret"}

    assert trace_metadata(headers=headers) == {"traceparent": FAR, "tracestate": "a=b"}


def test_two_traces_are_not_mixed() -> None:
    before = {"traceparent": OTHER, "tracestate": "other=1", "who": "me"}

    assert trace_metadata(before, headers={"traceparent": FAR}) == {
        "traceparent": FAR,
        "who": "me",
    }


def test_what_metadata_names_stays_where_nothing_else_does() -> None:
    assert trace_metadata() == {}
    assert trace_metadata({"traceparent": OTHER}, headers={"accept": "*"}) == {"traceparent": OTHER}


@pytest.mark.parametrize(
    "value", [None, 7, b"x", "", "nonsense", FAR + "-" + "0" * FIELD_CHARS_MAX, "00-0-0-00"]
)
def test_what_makes_no_sense_begins_a_new_trace(value) -> None:
    assert not parent_of({"traceparent": value}).is_valid
    assert not parent_of(None).is_valid


def test_the_parent_does_not_depend_on_what_is_current(spans) -> None:
    with spans.provider.get_tracer("t").start_as_current_span("s"):
        assert not parent_of({}).is_valid
        assert format(parent_of({"traceparent": FAR}).trace_id, "032x") == "1" * 32


def test_the_current_span_goes_out_as_headers(spans) -> None:
    assert trace_headers() == {}
    with spans.provider.get_tracer("t").start_as_current_span("s") as span:
        context = span.get_span_context()

        ids = f"{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        assert trace_headers() == {"traceparent": f"00-{ids}"}
