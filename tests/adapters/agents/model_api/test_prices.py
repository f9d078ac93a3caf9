from __future__ import annotations

import pytest
from moorage.adapters.agents.model_api.prices import check_prices, cost_usd
from moorage.runtime.errors import InvalidArgument

PRICES = {
    "big": {"input": 3.0, "output": 15.0, "cache_read": 0.3, "cache_write": 3.75},
    "big-cheap": {"input": 1.0},
}


def test_each_kind_of_token_has_its_price_per_million() -> None:
    usage = {
        "input_tokens": 1_000_000,
        "output_tokens": 100_000,
        "cache_read_tokens": 10_000_000,
        "cache_write_tokens": 2_000_000,
        "reasoning_tokens": 50_000,  # a part of the output, so not paid twice
    }

    assert cost_usd(PRICES, "big-20260101", usage) == pytest.approx(3 + 1.5 + 3 + 7.5)


def test_the_longest_name_counts_and_what_it_lacks_costs_as_input() -> None:
    usage = {"input_tokens": 1_000_000, "cache_read_tokens": 1_000_000, "output_tokens": 5}

    assert cost_usd(PRICES, "big-cheap-2", usage) == pytest.approx(2)


@pytest.mark.parametrize(("prices", "model"), [(None, "big"), (PRICES, "other"), (PRICES, None)])
def test_without_a_price_there_is_no_cost(prices: None, model: str | None) -> None:
    assert cost_usd(prices, model, {"input_tokens": 5}) is None


@pytest.mark.parametrize("table", [{"inputs": 1}, {"input": -1}, {"input": "3"}, {"input": True}])
def test_a_table_that_cannot_be_meant_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="prices"):
        check_prices({"m": table})  # type: ignore[dict-item]


def test_a_good_table_and_none_are_fine() -> None:
    check_prices(None)
    check_prices(PRICES)
