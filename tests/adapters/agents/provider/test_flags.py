from __future__ import annotations

from typing import Any

import pytest
from moorage.adapters.agents.provider.flags import option_flags
from moorage.runtime.errors import InvalidArgument


def test_options_are_flags_of_their_names() -> None:
    options = {"thinking": "high", "no_tools": True, "off": False, "none": None, "n": [1, 2.5]}

    assert option_flags(options, taken=frozenset()) == [
        "--thinking",
        "high",
        "--no-tools",
        "--n",
        "1",
        "--n",
        "2.5",
    ]


@pytest.mark.parametrize(
    "options", [{"mode": "x"}, {"a b": "x"}, {"": "x"}, {"x": {"y": 1}}, {"x": [[1]]}]
)
def test_what_is_no_flag_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="provider_options"):
        option_flags(options, taken=frozenset({"mode"}))
