from __future__ import annotations

import pytest
from moorage.stores.durability import Durability


@pytest.mark.parametrize("durability", list(Durability))
def test_a_durability_is_written_in_settings_as_its_value(durability: Durability) -> None:
    assert f"{durability}" == str(durability) == durability.value
    assert Durability(str(durability)) is durability


def test_there_are_two_and_they_are_called_commit_and_buffered() -> None:
    assert [str(durability) for durability in Durability] == ["commit", "buffered"]


def test_a_word_that_is_no_durability_is_refused() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        Durability("sometimes")
