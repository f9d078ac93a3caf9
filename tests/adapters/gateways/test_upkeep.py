from __future__ import annotations

import pytest
import trio
from moorage.stores import JournalStore
from moorage.stores.journal.compaction import CompactionReport


@pytest.fixture
def damaged(filled):
    """One byte of the log is not what was written; returns its path and the command line."""
    (path,) = [path for path in (filled.data / "segments").iterdir() if path.suffix != ".index"][:1]
    content = bytearray(path.read_bytes())
    place = content.index(b"hello") if b"hello" in content else len(content) // 2
    content[place] ^= 0x40
    path.write_bytes(content)
    return path, filled


def test_a_sound_journal_is_counted(filled):
    facts = dict(line.split(maxsplit=1) for line in filled("verify").stdout.splitlines())

    assert (facts["journal"], facts["sessions"], facts["events"]) == ("sound", "2", "9")
    report = filled.json("verify")
    assert (report["sound"], report["sessions"], report["findings"]) == (True, 2, [])


def test_damage_is_told_with_file_and_offset_and_the_way_out(damaged):
    path, moorage = damaged

    result = moorage("verify", code=1)
    report = moorage.json("verify", code=1)

    assert str(path) in result.stdout
    assert f"moorage salvage --data {moorage.data} --to NEWDIR" in result.stderr
    assert "1 place is damaged" in result.stderr
    (finding,) = report["findings"][:1]
    file, _, offset = finding["place"].rpartition(", ")
    assert (file, finding["severity"]) == (str(path), "damage")
    assert 0 < int(offset) < path.stat().st_size


def test_a_damaged_log_is_not_opened_and_not_changed(damaged):
    path, moorage = damaged
    before = path.read_bytes()

    result = moorage("export", "a", code=1)

    assert str(path) in result.stderr
    assert "damaged at offset" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert before == path.read_bytes()


def test_salvage_brings_what_can_be_read_into_a_new_directory(damaged, tmp_path):
    path, moorage = damaged
    before = path.read_bytes()
    target = tmp_path / "saved"

    report = moorage.json("salvage", "--to", str(target))

    assert report["sessions"] == 2
    assert report["problems"]
    assert "sound" in moorage("verify", "--data", str(target)).stdout
    types = [e["type"] for e in moorage.lines("events", "a", "--json", "--data", str(target))]
    assert len(types) == 8
    assert types.count("event_lost") == sum(last - first + 1 for first, last in report["lost"]["a"])
    assert before == path.read_bytes()


def test_salvage_shows_what_was_lost(damaged, tmp_path):
    _, moorage = damaged

    result = moorage("salvage", "--to", str(tmp_path / "saved"))

    assert "lost" in result.stdout
    assert "event_lost" in result.stderr


def test_salvage_overwrites_nothing(filled):
    assert "there already" in filled("salvage", "--to", str(filled.data), code=1).stderr


def test_salvage_needs_to_know_where_to(filled):
    filled("salvage", code=2)


def test_compacting_keeps_everything_that_counts(filled):
    before = filled("export", "a").stdout
    filled("delete", "b", "--yes")

    text = filled("compact").stdout
    report = filled.json("compact")

    assert "freed" in text
    assert report["bytes_after"] <= report["bytes_before"]
    assert before == filled("export", "a").stdout


def test_what_compacting_frees_is_never_less_than_nothing(moorage, monkeypatch):
    async def compact(self):
        await trio.lowlevel.checkpoint()
        return CompactionReport(1, 2, bytes_before=1_000, bytes_after=1_064)

    moorage("run", "-s", "a", "--agent", "echo", "-q", "x")
    monkeypatch.setattr(JournalStore, "compact", compact)

    text = moorage("compact").stdout

    assert "0 bytes\n" in text
    assert "-64" not in text
    assert "1,000 before, 1,064 now" in text


def test_verifying_works_beside_a_live_owner_and_compacting_is_refused(moorage, owner):
    owner.tell("one")

    assert "sound" in moorage("verify").stdout
    assert f"process {owner.process.pid}" in moorage("compact", code=1).stderr
    owner.tell("two")
    owner.stop()
