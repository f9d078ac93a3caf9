"""Check the directory that a demo has left: its record against its log.

``python -m moorage.adapters.gateways.demo.checker DIRECTORY`` (after ``moorage demo --keep
DIRECTORY``) prints the findings and exits with 1 if one does not hold.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from moorage.runtime import Event, open_reader
from moorage.stores import JournalStore

from .checks import Evidence, Finding, check_all
from .places import Places
from .programs import SLOTS
from .record import read_record

PAGE_EVENTS = 5_000


async def check_directory(root: Path) -> list[Finding]:
    """Read record and log, the latter without owning it, and compare them."""
    places = Places(root)
    logs: dict[str, list[Event]] = {}
    async with open_reader(JournalStore(places.journal)) as reader:
        async for info in reader.sessions():
            events = logs[info.id] = []
            session = reader.session(info.id)
            while page := await session.events(after=len(events), limit=PAGE_EVENTS):
                events += page
    started = []
    for line in places.started.read_text().splitlines():
        run_id, attempt = line.split()
        started.append((run_id, int(attempt)))
    record = read_record(places.record)
    return check_all(Evidence(record=record, logs=logs, started=started, slots=SLOTS))


def main() -> None:
    findings = trio.run(check_directory, Path(sys.argv[1]))
    for finding in findings:
        print(f"{'ok' if finding.holds else 'NO':<3} {finding.claim}: {finding.counts}")
    for finding in findings:
        if not finding.holds:
            print(finding.reason(), file=sys.stderr)
    sys.exit(not all(finding.holds for finding in findings))


if __name__ == "__main__":
    main()
