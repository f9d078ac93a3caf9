"""A path leads from the first seq to any other, around what was left behind."""

from __future__ import annotations

from moorage.runtime.branches import Branch, Branches


def test_a_log_that_only_went_on_is_one_path() -> None:
    branches = Branches()

    assert branches.path(5) == [(1, 5)]
    assert branches.path(0) == []


def test_going_back_leaves_out_what_lies_between() -> None:
    branches = Branches()

    branches.begin(6, 3)

    assert branches.path(7) == [(1, 3), (6, 7)]
    assert branches.path(5) == [(1, 5)]


def test_one_can_go_back_to_what_was_left() -> None:
    branches = Branches()

    branches.begin(6, 3)
    branches.begin(8, 5)

    assert branches.path(9) == [(1, 5), (8, 9)]


def test_a_branch_of_a_branch_has_the_path_of_both() -> None:
    branches = Branches()

    branches.begin(6, 3)
    branches.begin(9, 7)

    assert branches.path(9) == [(1, 3), (6, 7), (9, 9)]


def test_going_back_to_the_beginning_leaves_nothing() -> None:
    branches = Branches()

    branches.begin(6, 0)

    assert branches.path(6) == [(6, 6)]


def test_a_clear_ends_the_path_unless_it_is_looked_through() -> None:
    branches = Branches()

    branches.begin(4, 3, cleared=True)

    assert branches.path(6) == [(4, 6)]
    assert branches.path(6, through_clears=True) == [(1, 3), (4, 6)]
    assert branches.path(3) == [(1, 3)]


def test_branches_are_listed_with_where_they_left_and_end() -> None:
    branches = Branches()

    branches.begin(6, 3, name="other way")

    assert branches.listed(8) == [
        Branch(None, from_seq=0, first_seq=1, last_seq=5, active=False),
        Branch("other way", from_seq=3, first_seq=6, last_seq=8, active=True),
    ]
