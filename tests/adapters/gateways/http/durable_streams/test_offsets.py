from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.durable_streams.offsets import read_offset, write_offset
from moorage.adapters.gateways.http.problems import MalformedRequest


def test_offsets_sort_as_the_positions_do():
    positions = [0, 1, 9, 10, 99, 10**9, 10**15]

    assert positions == [read_offset(write_offset(position)) for position in positions]
    assert sorted(map(write_offset, positions)) == [write_offset(p) for p in positions]


def test_the_beginning_has_a_name_too():
    assert read_offset("-1") == read_offset(write_offset(0)) == 0


@pytest.mark.parametrize(
    "text", ["", "now", "0", "-2", "0,1", "0 1", "\uff11" * 16, "0" * 33 + "\n"]
)
def test_what_is_no_offset_of_ours_is_refused(text):
    with pytest.raises(MalformedRequest, match="Stream-Next-Offset"):
        read_offset(text)
