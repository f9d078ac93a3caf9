from __future__ import annotations


def test_both_stores_must_be_named(moorage):
    assert "--from" in moorage("copy", "--to", "x", code=2).stderr
    assert "--to" in moorage("copy", "--from", "x", code=2).stderr


def test_help_names_every_form_of_a_store(moorage):
    shown = " ".join(moorage("copy", "--help").stdout.split())

    assert all(kind in shown for kind in ("sqlite:", "postgres:", "jsonl:", "redis:"))


def test_what_is_no_store_is_a_mistake_of_usage(moorage, tmp_path):
    result = moorage("copy", "--from", "nonsense:x", "--to", str(tmp_path / "to"), code=2)

    assert "--from" in result.stderr
    assert "'nonsense' is no kind of store" in result.stderr
