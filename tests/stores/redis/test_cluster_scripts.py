from __future__ import annotations

import pytest
from moorage.stores.redis.cluster_scripts import KEPT_SECONDS, LETTERS
from moorage.stores.redis.scripts import SCRIPTS


@pytest.mark.parametrize("name", ["append", "delete", "answer"])
def test_what_answers_a_letter_looks_first_whether_it_was_answered(name: str) -> None:
    own = SCRIPTS[name].replace(LETTERS, "")
    looks = [own.find(word) for word in ("first_answered(", "not answered(") if word in own]
    answers = [own.find(word) for word in ("answer_all(", "then answer(") if word in own]

    assert LETTERS in SCRIPTS[name]
    assert looks[0] < answers[0]


def test_answers_and_letters_are_forgotten_in_the_end() -> None:
    assert LETTERS.count(str(KEPT_SECONDS)) == 2
    assert "KEPT" not in LETTERS


@pytest.mark.parametrize("name", ["announce", "nodes", "held"])
def test_times_of_nodes_are_on_the_servers_clock(name: str) -> None:
    assert SCRIPTS[name].count("redis.call('TIME')") == 1
