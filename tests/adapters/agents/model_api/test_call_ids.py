from __future__ import annotations

import re

import pytest
from moorage.adapters.agents.model_api.call_ids import CallIds, wire_name


def test_an_id_that_fits_stays_as_it_is() -> None:
    ids = CallIds(chars_max=40)

    assert (ids.call("toolu_01-A"), ids.result("toolu_01-A")) == ("toolu_01-A", "toolu_01-A")


@pytest.mark.parametrize(
    "id", ["call_1|fc_" + "x" * 80, "run:1:0", "functions.add:0", "", "ä", "\ud800"]
)
def test_an_id_that_does_not_fit_is_replaced_by_the_same_one_each_time(id: str) -> None:
    first, second = CallIds(chars_max=40), CallIds(chars_max=40)

    sent = first.call(id)

    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", sent)
    assert sent == first.result(id) == second.call(id)


def test_an_id_is_used_once_and_results_are_those_of_the_last_call_with_it() -> None:
    ids = CallIds(chars_max=40)

    first = (ids.call("call_0"), ids.result("call_0"))
    second = (ids.call("call_0"), ids.result("call_0"))
    third = (ids.call("call_0"), ids.result("call_0"))

    assert [call == result for call, result in (first, second, third)] == [True, True, True]
    assert len({first[0], second[0], third[0]}) == 3


def test_what_goes_back_as_it_came_has_its_own_id() -> None:
    ids = CallIds(chars_max=10)

    ids.kept("functions.add:0")

    assert ids.result("functions.add:0") == "functions.add:0"
    assert ids.call("functions.add:0") != "functions.add:0"


def test_a_result_whose_call_is_with_the_provider_has_its_own_id() -> None:
    assert CallIds(chars_max=10).result("functions.add:0") == "functions.add:0"


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("read_file", "read_file"),
        ("Read file.txt", "Read_file_txt"),
        ("mcp/x:y", "mcp_x_y"),
        ("", "tool"),
        ("n" * 70, "n" * 64),
    ],
)
def test_a_name_has_characters_and_a_length_that_are_taken(name: str, sent: str) -> None:
    assert wire_name(name) == sent
