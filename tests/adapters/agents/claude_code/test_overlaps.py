from __future__ import annotations

from moorage.adapters.agents.claude_code.overlaps import Overlaps


def test_runs_one_after_the_other_do_not_overlap():
    overlaps = Overlaps()

    with overlaps.watching("s") as first:
        pass
    with overlaps.watching("s") as second:
        pass

    assert not first.happened
    assert not second.happened


def test_runs_of_one_session_at_the_same_time_all_know_of_it_for_good():
    overlaps = Overlaps()

    with overlaps.watching("s") as first:
        with overlaps.watching("s") as second:
            assert first.happened
        with overlaps.watching("other") as other:
            pass

    assert first.happened
    assert second.happened
    assert not other.happened
