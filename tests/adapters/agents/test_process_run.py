from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from moorage.adapters.agents.process_run import Tail, signal_name


@given(st.lists(st.binary(max_size=20)), st.integers(0, 30))
def test_a_tail_is_the_end_of_what_was_added(chunks, bytes_max):
    tail = Tail(bytes_max)

    for chunk in chunks:
        tail.add(chunk)

    whole = b"".join(chunks)
    assert whole[max(0, len(whole) - bytes_max) :].decode("utf-8", "replace") == tail.text()
    assert (len(whole) > bytes_max) == tail.truncated


def test_a_signal_without_a_name_is_told_by_its_number():
    assert (signal_name(9), signal_name(40)) == ("SIGKILL", "signal 40")
