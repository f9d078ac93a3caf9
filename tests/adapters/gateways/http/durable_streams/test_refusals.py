from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.durable_streams import refusals
from moorage.adapters.gateways.http.problems import problem_of

REFUSALS = [
    (refusals.StreamIsClosed(position=7), 409, "stream_closed"),
    (refusals.ContentTypeMismatch(expected="a/b", given="c/d"), 409, "content_type_mismatch"),
    (refusals.WriterSeqRegression(last="2", given="1"), 409, "writer_seq_regression"),
    (refusals.ProducerGap("p", expected=1, received=3), 409, "producer_gap"),
    (refusals.StaleEpoch("p", epoch=1, current=2), 403, "stale_producer_epoch"),
    (refusals.TooManyMessages(count=5, limit=4), 413, "too_many_messages"),
]


@pytest.mark.parametrize(("error", "status", "code"), REFUSALS, ids=lambda value: str(value)[:20])
def test_every_refusal_has_its_status_and_its_code(error, status, code):
    problem = problem_of(error)

    assert (problem.status, problem.code) == (status, code)


def test_who_is_refused_for_the_closing_is_told_where_the_end_is():
    assert refusals.StreamIsClosed(position=7).headers == {
        "stream-closed": "true",
        "stream-next-offset": "0000000000000000_0000000000000007",
    }
