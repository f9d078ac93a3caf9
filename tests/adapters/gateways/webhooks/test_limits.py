from __future__ import annotations

import attrs
import pytest
from moorage.adapters.gateways.webhooks import WebhookLimits
from moorage.runtime import InvalidArgument


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(WebhookLimits)])
def test_a_limit_that_limits_nothing_is_refused_by_name(name):
    for value in (0, -1, float("inf"), float("nan"), "1", True, None):
        with pytest.raises(InvalidArgument, match=name):
            WebhookLimits(**{name: value})


def test_times_may_be_whole_numbers_and_counts_may_not_be_fractions():
    assert WebhookLimits(poll_seconds=3).poll_seconds == 3
    with pytest.raises(InvalidArgument, match="posts_max"):
        WebhookLimits(posts_max=1.5)
