"""How long to wait between tries, and when to give up. Pure: time and chance come in as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .limits import ClientLimits


class Backoff:
    """The waits of one call, or of one subscription between two things that it got.

    They grow, and are spread by ``chance`` (from 0 to 1): clients of a server that was restarted
    must not all come back in one moment. ``patience`` says, at the first failure, for how many
    seconds it is tried; else the limits do.
    """

    def __init__(
        self,
        limits: ClientLimits,
        now: Callable[[], float],
        chance: Callable[[], float],
        patience: Callable[[], float] | None = None,
    ) -> None:
        self._limits = limits
        self._now = now
        self._chance = chance
        self._patience = patience or (lambda: limits.unreachable_seconds_max)
        self._tries = 0
        self._until: float | None = None
        self._until_before: float | None = None

    def succeeded(self) -> None:
        """What comes next is a first try again."""
        self._tries = 0
        self._until = None

    def reached(self) -> None:
        """There is a server: from now on it may be gone for the whole time again. What it may do
        next is cut us off, and so waits do not begin anew."""
        self._until_before, self._until = self._until, None

    def turned_away(self) -> None:
        """It was reached, only to be told to come later: time runs on as if it had not been."""
        self._until = self._until_before

    def next_seconds(self, retry_after_seconds: float | None = None) -> float | None:
        """How long to wait behind a failure; None: it has been tried for long enough.

        What the server asks for is kept to, as far as it is believed.
        """
        limits, now = self._limits, self._now()
        if self._until is None:
            self._until = now + self._patience()
        if now >= self._until:
            return None
        doubled: float = limits.backoff_seconds_min * 2.0 ** min(self._tries, 32)
        self._tries += 1
        seconds = min(limits.backoff_seconds_max, doubled) * (0.5 + self._chance())
        if retry_after_seconds is not None:
            seconds = max(seconds, min(retry_after_seconds, limits.retry_after_seconds_max))
        return min(seconds, self._until - now)
