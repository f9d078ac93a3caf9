"""How often each client may ask: a token bucket for each, of which the latest are remembered."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from .problems import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from .limits import HttpLimits


class RequestRates:
    """``now`` gives seconds of any clock that only goes forward.

    A client that is forgotten, since ``clients_max`` others came after it, begins with a full
    bucket again: what is held in memory is bounded, and not how often many clients may ask.
    """

    def __init__(self, limits: HttpLimits, now: Callable[[], float]) -> None:
        self._per_second = limits.requests_per_second_max
        self._burst = limits.requests_burst_max
        self._clients_max = limits.clients_max
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Client -> requests left, as of when."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> None:
        """Count a request. Raises TooManyRequests, which says when the next one will do."""
        now = self._now()
        left, since = self._buckets.pop(client, (float(self._burst), now))
        left = min(float(self._burst), left + (now - since) * self._per_second)
        if left < 1:
            self._buckets[client] = left, now
            raise TooManyRequests(
                "you ask too often, in requests a second",
                limit=self._per_second,
                retry_after_seconds=(1 - left) / self._per_second,
            )
        self._buckets[client] = left - 1, now
        if len(self._buckets) > self._clients_max:
            self._buckets.popitem(last=False)
