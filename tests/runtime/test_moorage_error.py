from __future__ import annotations

import pickle

from moorage.runtime import MoorageError
from moorage.runtime.errors import SessionChanged


def test_the_message_is_kept_and_a_kind_says_whether_a_retry_may_help() -> None:
    error = MoorageError("what happened")

    assert (error.message, error.retryable) == ("what happened", False)


def test_errors_that_ask_for_facts_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(SessionChanged("s", expected_seq=3, head_seq=5)))

    assert type(error) is SessionChanged
    assert (error.session_id, error.expected_seq, error.head_seq) == ("s", 3, 5)
