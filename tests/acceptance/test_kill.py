"""Twenty kills of a real process; ``make kill`` does two hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.kill_checks import NEEDED, Record

LOOP = Path(__file__).with_name("kill_loop.py")


@pytest.mark.promise(1)
@pytest.mark.promise(3)
@pytest.mark.promise(4)
@pytest.mark.promise(10)
def test_what_was_acknowledged_survives_twenty_kills() -> None:
    done = subprocess.run(
        [sys.executable, str(LOOP), "--kills", "20", "--seed", "20"],
        capture_output=True,
        text=True,
        timeout=900,
    )

    print(done.stdout[-2_000:])
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    assert "20 SIGKILLs" in done.stdout
    assert "; 0 problems" in done.stdout


def test_what_never_happened_is_a_problem():
    record = Record()
    record.take({"kind": "ready", "pid": 1, "resident_max": 1})
    record.take({"kind": "accepted", "session": "a", "run": "run_1"})
    record.take({"kind": "accepted", "session": "a", "run": "run_2"})

    missing = record.missing()

    assert "no run was accepted" not in missing
    assert set(missing) == set(NEEDED.values()) - {"no run was accepted"}


def test_more_sessions_than_fit_into_memory_in_one_life_show_that_one_has_left_it():
    record = Record()
    record.take({"kind": "ready", "pid": 1, "resident_max": 1})
    record.take({"kind": "event", "session": "a", "seq": 1, "type": "note"})
    record.restarted()
    record.take({"kind": "ready", "pid": 2, "resident_max": 1})
    record.take({"kind": "event", "session": "b", "seq": 1, "type": "note"})

    assert record.counts["passivated"] == 0
    record.take({"kind": "event", "session": "a", "seq": 2, "type": "note"})
    assert record.counts["passivated"] == 1
