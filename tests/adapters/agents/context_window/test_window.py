from __future__ import annotations

import pytest
from moorage.adapters.agents.context_window import ContextWindow
from moorage.runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("messages_max", 0),
        ("messages_max", True),
        ("characters_max", "many"),
        ("tokens_max", -1),
        ("keep_recent_tokens", None),
        ("compact_at", 0),
        ("compact_at", 1.5),
        ("compact_blocking_at", "0.9"),
        ("finish_seconds", -1),
        ("finish_seconds", float("inf")),
    ],
)
def test_limits_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(InvalidArgument, match=name):
        ContextWindow(**{name: value})


def test_the_first_threshold_is_not_above_the_second():
    with pytest.raises(InvalidArgument, match=r"compact_at is 0\.9 .* which is 0\.8"):
        ContextWindow(compact_at=0.9, compact_blocking_at=0.8)

    assert ContextWindow(compact_at=0.8, compact_blocking_at=0.8).compact_at == 0.8
