from __future__ import annotations

import pickle

from moorage.adapters.agents import ProcessFailed, ProcessLimitReached
from moorage.runtime.codec import pack
from moorage.runtime.errors import MoorageError


def test_the_facts_are_attributes_and_plain_details():
    error = ProcessFailed("it failed", program="git", exit_code=128, stderr="fatal: no\n")

    expected = {
        "program": "git",
        "exit_code": 128,
        "signal": None,
        "stderr": "fatal: no\n",
        "stderr_truncated": False,
    }
    assert expected == error.details
    assert (error.code, error.retryable, error.exit_code) == ("process_failed", False, 128)
    pack(error.details)


def test_details_stay_small_enough_for_the_runtime_to_keep():
    error = ProcessFailed("it failed", program="x", stderr="ä" * 100_000)

    assert len(pack(error.details)) < 65_536
    assert error.details["stderr_truncated"] is True
    assert error.details["stderr"].endswith("ää")


def test_only_a_shortage_is_worth_another_try():
    error = ProcessLimitReached("no room", program="x")

    assert (error.code, error.retryable) == ("process_limit_reached", True)


def test_they_are_caught_with_all_other_errors_and_survive_pickling():
    error = pickle.loads(pickle.dumps(ProcessFailed("it failed", program="x", signal="SIGKILL")))

    assert isinstance(error, MoorageError)
    assert (str(error), error.signal) == ("it failed", "SIGKILL")
