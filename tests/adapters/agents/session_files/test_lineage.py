from __future__ import annotations

from moorage.adapters.agents.session_files.lineage import lineage


def of(leaf, **parents):
    return [id for id, _ in lineage(leaf, {k: (k, v) for k, v in parents.items()}, lambda e: e[1])]


def test_a_lineage_leads_from_the_first_entry_to_the_leaf():
    assert of("c", a=None, b="a", x="a", c="b") == ["a", "b", "c"]


def test_it_begins_where_a_parent_is_missing():
    assert of("c", b="gone", c="b") == ["b", "c"]
    assert of("c", c=7) == ["c"]
    assert of(None, a=None) == []
    assert of("gone", a=None) == []


def test_entries_in_a_circle_are_told_once():
    assert of("c", a="c", b="a", c="b") == ["a", "b", "c"]
    assert of("a", a="a") == ["a"]
