from __future__ import annotations

import pytest
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.ports import Answered
from moorage.stores.conformance.scenario import facts, note
from moorage.stores.mail import encode_answer
from moorage.stores.redis.arguments import info_argument, letter_arguments, record_arguments


def test_what_is_not_given_is_empty_and_what_is_given_never_is() -> None:
    plain, keyed = note(1), note(2, "run_submitted", "r", key="")

    assert record_arguments([plain, keyed]) == [
        *("message_sent", "", "", plain.body),
        *("run_submitted", "=r", "=", keyed.body),
    ]
    assert info_argument(None) == b""
    assert info_argument(facts("a")) != b""


def test_an_info_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        info_argument(facts("a", metadata={"number": 2**80}))


def test_letters_come_behind_the_prefix_of_their_keys() -> None:
    assert letter_arguments("p:", [Answered("one", True)]) == ["p:", "one", encode_answer(True)]
    assert letter_arguments("p:", []) == ["p:"]
