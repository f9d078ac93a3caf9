"""What tokens cost, from a table that the user gives: providers' own prices change too often."""

from __future__ import annotations

import math
from collections.abc import Mapping

from moorage.runtime.errors import InvalidArgument

TOKENS_PER_PRICE = 1_000_000

PRICE_KINDS: Mapping[str, str] = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
}
"""Name in a price map -> name in a usage map. Reasoning is paid for as output."""

Prices = Mapping[str, Mapping[str, float]]
"""Model, or the beginning of its name -> ``{"input": 3.0, "output": 15.0, ...}``, in US dollars per
million tokens."""


def check_prices(prices: Prices | None) -> None:
    """Raises InvalidArgument for a table that has other names, or no numbers of at least 0."""
    for model, table in (prices or {}).items():
        for kind, price in table.items():
            if kind not in PRICE_KINDS:
                raise InvalidArgument(
                    f"prices[{model!r}] has {kind!r}: known are {', '.join(PRICE_KINDS)}"
                )
            if type(price) not in (int, float) or not math.isfinite(price) or price < 0:
                raise InvalidArgument(
                    f"prices[{model!r}][{kind!r}] must be a number of at least 0, in US dollars "
                    f"per million tokens, not {price!r}"
                )


def cost_usd(prices: Prices | None, model: str | None, usage: Mapping[str, int]) -> float | None:
    """What this usage costs, or None where the table does not have the model.

    The longest name counts that the model's begins with. A kind without a price costs as input if
    it is one, so that a short table errs on the dear side.
    """
    if not prices or not model:
        return None
    names = [name for name in prices if model.startswith(name)]
    if not names:
        return None
    table = prices[max(names, key=len)]
    dollars = 0.0
    for kind, tokens in PRICE_KINDS.items():
        price = table.get(kind, 0.0 if kind == "output" else table.get("input", 0.0))
        dollars += usage.get(tokens, 0) * price
    return dollars / TOKENS_PER_PRICE
