from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moorage.stores.jsonl.names import PLAIN_CHARACTERS_MAX, stem_of


@pytest.mark.parametrize("session_id", ["user-1", "a", "2026_05.chat", "x" * PLAIN_CHARACTERS_MAX])
def test_a_plain_id_is_its_own_name(session_id: str) -> None:
    assert stem_of(session_id) == session_id


@pytest.mark.parametrize(
    ("session_id", "shown"),
    [("A", "a"), ("../etc/passwd", "etc_passwd"), (".hidden", "hidden"), ("a b/c", "a_b_c")],
)
def test_any_other_shows_what_can_be_shown(session_id: str, shown: str) -> None:
    assert re.fullmatch(re.escape(shown) + "~[0-9a-f]{32}", stem_of(session_id))


@given(one=st.text(min_size=1), other=st.text(min_size=1))
def test_different_ids_have_different_names_whatever_the_case(one: str, other: str) -> None:
    names = stem_of(one), stem_of(other)

    assert (names[0].lower() == names[1].lower()) == (one == other)
    assert all(re.fullmatch(r"[a-z0-9_.~-]{1,160}", name) for name in names)
    assert all(not name.startswith(".") for name in names)
