from __future__ import annotations

import pytest


def test_a_file_that_got_smaller_is_compacted(moorage, tmp_path):
    spec = f"sqlite:{tmp_path / 'a.db'}"
    moorage("run", "--store", spec, "-s", "big", "--agent", "echo", "x" * 200_000)
    moorage("run", "--store", spec, "-s", "small", "--agent", "echo", "x")
    moorage("delete", "--store", spec, "big", "--yes")

    report = moorage.json("compact", "--store", spec)

    assert report["bytes_before"] > 400_000 > 200_000 > report["bytes_after"] > 0
    assert [info["id"] for info in moorage.json("sessions", "--store", spec)] == ["small"]


@pytest.mark.parametrize("spec", ["jsonl:x", "postgres://h/d", "redis://h"])
def test_what_has_nothing_to_compact_says_for_which_stores_that_is(moorage, spec):
    refused = moorage("compact", "--store", spec, code=1)

    assert "compact is for journals and SQLite files" in refused.stderr


def test_salvage_is_for_journals_alone(moorage, tmp_path):
    moorage.environment = {"MOORAGE_STORE": f"sqlite:{tmp_path / 'a.db'}"}

    refused = moorage("salvage", "--to", str(tmp_path / "new"), code=2)

    assert "this command is for journals" in refused.stderr
