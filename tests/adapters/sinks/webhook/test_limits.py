from __future__ import annotations

import attrs
import pytest
from moorage.adapters.sinks.webhook import PostLimits
from moorage.runtime import InvalidArgument


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(PostLimits)])
def test_a_limit_that_limits_nothing_is_refused_by_name(name):
    for value in (0, -1, float("inf"), float("nan"), "1", True, None):
        with pytest.raises(InvalidArgument, match=name):
            PostLimits(**{name: value})


def test_times_may_be_whole_numbers_and_counts_may_not_be_fractions():
    assert PostLimits(post_seconds=3).post_seconds == 3
    with pytest.raises(InvalidArgument, match="batch_events_max"):
        PostLimits(batch_events_max=1.5)
