"""What happens in a process that is forked off a test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS_MAX = 60

forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
"""Of a test that forks: newer Pythons warn of it, which is what the test is about."""


def in_fork(function: Callable[[], object]) -> str:
    """What ``function`` returns in a fork, as text, or the name of what it raises there with the
    message. Empty if it is still at it after ``SECONDS_MAX``."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        signal.set_wakeup_fd(-1)  # of the trio that the test runs in
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS_MAX)
        try:
            answer = str(function())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answered:
        answer = answered.read().decode()
    os.waitpid(child, 0)
    return answer
