from __future__ import annotations

from pathlib import Path

from moorage.adapters.gateways.configuration.given import (
    Branch,
    Given,
    Problem,
    Source,
    merged,
    plain,
)

FILE = Source("file", "a.yaml:1", Path("/etc"))
OTHER = Source("environment", "MOORAGE_A__B", Path("/"))


def given(value, source=FILE, **options):
    return Given(value, source, **options)


def test_what_is_above_counts_and_the_rest_comes_from_below():
    below = Branch(FILE, {"a": given(1), "b": Branch(FILE, {"c": given(2), "d": given(3)})})
    above = Branch(OTHER, {"b": Branch(OTHER, {"c": given(9, OTHER)}), "e": given(4, OTHER)})

    tree = merged(above, below)

    assert plain(tree) == {"a": 1, "b": {"c": 9, "d": 3}, "e": 4}
    assert (tree.entries["b"].entries["c"].source, tree.entries["a"].source) == (OTHER, FILE)


def test_a_branch_that_replaces_leaves_nothing_of_what_is_below():
    below = Branch(FILE, {"a": given(1)})
    above = Branch(OTHER, {"b": given(2)}, replaces=True)

    assert plain(merged(above, below)) == {"b": 2}


def test_a_value_and_a_branch_do_not_mix():
    branch = Branch(FILE, {"a": given(1)})

    assert plain(merged(given(5, OTHER), branch)) == 5
    assert plain(merged(branch, given(5, OTHER))) == {"a": 1}


def test_what_is_shown_is_the_value_unless_something_else_is():
    tree = Branch(FILE, {"a": given(1), "b": given("hunter2", shown="${SECRET}")})

    assert plain(tree) == {"a": 1, "b": "hunter2"}
    assert plain(tree, shown=True) == {"a": 1, "b": "${SECRET}"}


def test_a_problem_says_where_what_and_why():
    whole = Problem("a.yaml:1", "gateway.bind", "expected a text, not 5")

    assert str(whole) == "a.yaml:1: gateway.bind: expected a text, not 5"
    assert str(Problem("a.yaml", "", "it is empty")) == "a.yaml: it is empty"
