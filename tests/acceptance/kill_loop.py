"""Kill a service at random moments, many times, and check from outside that it kept its word.

    python tests/acceptance/kill_loop.py [--kills 200] [--seed 1]

Each round starts the service on the same directory, lets it work for a random time and ends it
with SIGKILL; some more rounds, one in eight of all, end with SIGTERM. What it acknowledged came
through a pipe and is all that this program knows; at the end everything is held against the log.
Exits with 1 if anything is amiss, or if what has to hold was never put to the test.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import trio
from moorage.runtime import open_reader
from moorage.stores import JournalStore
from moorage.stores.journal.disk import OsDisk
from moorage.stores.journal.manifest import Layout
from moorage.stores.journal.recovery import load_durable

sys.path.insert(0, str(Path(__file__).parent))
from kill_checks import NEEDED, SCRATCH, Record, check_session

SERVICE = Path(__file__).with_name("kill_service.py")
ROUND_SECONDS = (0.02, 0.5)
START_SECONDS_MAX = 120
SHOWN_FIRST, SHOWN_EVERY = 8, 24
"""Which rounds wait for what has to be put to the test: short lives on a slow machine never
get to some of it."""
SHOWN = set(NEEDED) - {"requeued"}
"""What one life can say of itself; the log alone has the rest."""
SHOWN_SECONDS_MAX = 60
KILLS_FOR_A_COMMIT = 100
"""Of so many kills at random moments some fall into a commit."""


class Round:
    """One life of the service."""

    def __init__(self, directory: Path, seed: int, *, finish: bool = False) -> None:
        command = [sys.executable, str(SERVICE), str(directory), str(seed)]
        self.process = subprocess.Popen(
            command + ["finish"] * finish, stdout=subprocess.PIPE, text=True
        )

        self._lines: list[str] = []
        self._ready = threading.Event()
        self._shown = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        # all the time, or a full pipe would make the service wait for us
        assert self.process.stdout is not None
        life = Record()
        for line in self.process.stdout:
            self._lines.append(line)
            self._ready.set()
            life.take(json.loads(line))
            if {kind for kind, count in life.counts.items() if count} >= SHOWN:
                self._shown.set()
        self._ready.set()

    def wait_ready(self, record: Record) -> None:
        self._ready.wait(START_SECONDS_MAX)
        if not self._lines or json.loads(self._lines[0])["kind"] != "ready":
            raise SystemExit(f"the service did not start: {self._lines[:1]}")
        record.restarted()

    def wait_shown(self) -> None:
        self._shown.wait(SHOWN_SECONDS_MAX)

    def end(self, how: signal.Signals | None, record: Record) -> int:
        if how is not None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=150)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        for line in self._lines:
            record.take(json.loads(line))
        return code


def fell_into_a_commit(directory: Path) -> bool:
    """Whether bytes of a commit were written that had not been published as durable."""
    layout = Layout(directory)
    end = load_durable(OsDisk(), layout)
    if end is None:
        return False
    segment = layout.segment(end.number)
    return segment.exists() and segment.stat().st_size > end.offset


async def check(directory: Path, record: Record) -> list[str]:
    problems = list(record.problems)
    async with open_reader(JournalStore(directory)) as reader:
        infos = [info async for info in reader.sessions()]
        for info in infos:
            if info.id == SCRATCH:
                continue
            events: list[Any] = []
            while len(events) < info.head_seq:
                page = await reader.session(info.id).events(after=len(events), limit=5_000)
                if not page:
                    problems.append(f"{info.id}: {len(events)} events, head is {info.head_seq}")
                    break
                events += page
            problems += check_session(info, events, record)
    lost = set(record.accepted_in) - {info.id for info in infos}
    return problems + [f"session {session_id} is gone" for session_id in lost]


def run(kills: int, seed: int, directory: Path) -> int:
    dice = random.Random(seed)
    record = Record()
    counts: collections.Counter[str] = collections.Counter()
    began = time.monotonic()
    number = 0
    while counts["SIGKILL"] < kills:
        number += 1
        service = Round(directory, seed * 100_000 + number)
        service.wait_ready(record)
        if number % SHOWN_EVERY == SHOWN_FIRST:
            service.wait_shown()
        time.sleep(dice.uniform(*ROUND_SECONDS))  # tidy: real processes, real time
        how = signal.SIGTERM if dice.random() < 0.125 else signal.SIGKILL
        code = service.end(how, record)
        counts[how.name] += 1
        if how is signal.SIGTERM and code != 0:
            record.problems.append(f"round {number}: exit code {code} after SIGTERM")
        if how is signal.SIGKILL and fell_into_a_commit(directory):
            counts["into a commit"] += 1
    last = Round(directory, 0, finish=True)
    last.wait_ready(record)
    if last.end(None, record) != 0:
        record.problems.append("the last life did not finish its work")
    problems = trio.run(check, directory, record) + record.missing()
    if kills >= KILLS_FOR_A_COMMIT and not counts["into a commit"]:
        problems.append(f"none of {kills} kills fell into a commit")
    for problem in problems[:40]:
        print("PROBLEM", problem)
    print(
        f"seed {seed}: {counts['SIGKILL']} SIGKILLs ({counts['into a commit']} fell into a "
        f"commit), {counts['SIGTERM']} SIGTERMs in {time.monotonic() - began:.0f} s; "
        f"{record.summary()}; {len(problems)} problems"
    )
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moorage-kill-") as directory:
        return run(options.kills, options.seed, Path(directory) / "data")


if __name__ == "__main__":
    sys.exit(main())
