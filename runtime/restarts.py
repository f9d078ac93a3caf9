"""Restart intensity: how often a worker may crash before its session is quarantined.

The rule is that of Erlang/OTP's supervisors (system documentation, "Supervisor Behaviour",
maximum restart intensity): more than ``restarts_max`` within ``period_seconds`` is too many. Kept
per session, so that one crash loop cannot use up the budget of the others.
"""

from __future__ import annotations

BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_MAX_SECONDS = 5.0
DOUBLINGS_MAX = 10
"""Enough for the longest pause; without it a thousand crashes would overflow a float."""


class RestartIntensity:
    """Counts crashes of one worker. Times are seconds of any monotonic clock."""

    __slots__ = ("_crashes", "_period_seconds", "_restarts_max")

    def __init__(self, restarts_max: int, period_seconds: float) -> None:
        self._restarts_max = restarts_max
        self._period_seconds = period_seconds
        self._crashes: list[float] = []

    def record(self, now: float) -> float | None:
        """Note a crash. Returns how long to wait before the restart, None if it must not be."""
        self._crashes.append(now)
        while self._crashes[0] < now - self._period_seconds:
            del self._crashes[0]
        if len(self._crashes) > self._restarts_max:
            return None
        doublings = min(len(self._crashes) - 1, DOUBLINGS_MAX)
        return min(BACKOFF_FIRST_SECONDS * 2.0**doublings, BACKOFF_MAX_SECONDS)

    def forgive(self) -> None:
        """Start counting anew."""
        self._crashes.clear()
