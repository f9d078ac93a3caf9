"""Every command that works on a journal works on every other store, which ``--store`` names."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest


def test_an_import_is_listed_shown_exported_the_same_and_deleted(filled, on_store, tmp_path):
    exported = filled("export", "a").stdout
    file = tmp_path / "a.jsonl"
    file.write_text(exported)

    assert on_store("import", str(file)).stdout == "a\n"
    assert [info["id"] for info in on_store.json("sessions")] == ["a"]
    assert on_store.json("status", "a")["head_seq"] == filled.json("status", "a")["head_seq"]
    events = on_store("events", "a", "--format", "jsonl").stdout
    assert events == filled("events", "a", "--format", "jsonl").stdout
    assert on_store("export", "a").stdout == exported
    on_store("delete", "a", "--yes")
    assert on_store.json("sessions") == []
    assert "'a'" in on_store("status", "a", code=1).stderr


def test_runs_are_submitted_and_followed(on_store):
    outcomes = on_store.json("run", "-s", "a", "--agent", "echo", "one", "two")
    again = on_store.json("run", "-s", "a", "--agent", "echo", "three")
    shown = on_store("events", "a", "--follow", "--run", again[0]["run_id"])

    assert [one["output"] for one in outcomes + again] == ["one", "two", "three"]
    assert "run_completed" in shown.stdout


def test_runs_of_others_are_not_taken_over_unasked(filled, on_store, tmp_path):
    """They were left in the middle, in a store that nobody has open."""
    lines = filled("export", "a").stdout.splitlines()
    header = json.loads(lines[0])
    cut = [line for line in lines[1:] if json.loads(line)["type"] == "run_started"][-1]
    kept = lines[1 : lines.index(cut) + 1]
    header["last_seq"] = len(kept)
    file = tmp_path / "cut.jsonl"
    file.write_text("\n".join([json.dumps(header), *kept]) + "\n")
    on_store("import", str(file))

    refused = on_store("run", "-s", "mine", "--agent", "echo", "x", code=1)
    outcomes = on_store.json("run", "-s", "mine", "--agent", "echo", "--recover-others", "x")

    assert "other sessions have unfinished runs" in refused.stderr
    assert [one["state"] for one in outcomes] == ["completed"]


@pytest.mark.parametrize(
    "command",
    [["sessions"], ["status", "a"], ["events", "a"], ["export", "a"], ["delete", "a", "--yes"]],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_a_file_that_is_not_there_is_refused_and_not_made(moorage, tmp_path, kind, command):
    path = tmp_path / "nothing"

    refused = moorage(*command, "--store", f"{kind}:{path}", code=1)

    assert f"there is no {'file' if kind == 'sqlite' else 'directory'}" in refused.stderr
    assert not path.exists()


def test_every_store_is_verified_and_a_risk_counts_only_if_that_is_meant(on_store, store_spec):
    on_store("run", "-s", "a", "--agent", "echo", "--quiet", "one")

    report = on_store.json("verify")
    shown = on_store("verify").stdout

    assert (report["sound"], report["sessions"], report["damages"]) == (True, 1, 0)
    assert "sound" in shown
    risks = [finding["place"] for finding in report["findings"]]
    assert all(finding["severity"] == "risk" for finding in report["findings"])
    assert risks == (["server setting fsync"] if store_spec.startswith("postgres") else [])
    on_store("verify", "--strict", code=1 if risks else 0)


def test_damage_is_told_in_one_shape(moorage, tmp_path):
    spec = f"sqlite:{tmp_path / 'a.db'}"
    moorage("run", "--store", spec, "-s", "a", "--agent", "echo", "one")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("DELETE FROM event WHERE seq = 2")

    result = moorage("verify", "--store", spec, code=1)
    report = moorage.json("verify", "--store", spec, code=1)

    assert "DAMAGED" in result.stdout
    assert "1 place is damaged: restore a backup" in result.stderr
    assert report["findings"] == [
        {
            "place": "session 'a', seq 2",
            "problem": "seqs 2 to 2 are missing",
            "remedy": report["findings"][0]["remedy"],
            "severity": "damage",
        }
    ]


def test_artifacts_are_verified_where_a_place_is_given(filled, tmp_path):
    (tmp_path / "artifacts").mkdir()

    assert filled.json("verify", "--artifacts", str(tmp_path / "artifacts"))["artifacts"] == 0
    refused = filled("verify", "--artifacts", str(tmp_path / "nothing"), code=1)
    assert "there is no directory of artifacts" in refused.stderr
