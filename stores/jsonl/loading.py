"""Reading what a session's file holds: events by where they stand, and the index of them. Blocks.

A file may be replaced while somebody reads: whoever opens it looks at the number in its first line,
and what belongs to another file is read again from there (``Moved``).
"""

from __future__ import annotations

import contextlib
from array import array
from typing import TYPE_CHECKING

from moorage.runtime.errors import CorruptLog

from ..log_index import LogIndex
from .files import file_number
from .layout import log_name
from .lines import Damage, read_event
from .scanning import Facts, read_header, read_lines, scan, whole_batch_follows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moorage.runtime.events import Event

    from ..journal.disk import Disk, File
    from .layout import Layout
    from .scanning import EventLine


class Moved(Exception):
    """The file is not the one any more that was meant."""


class LoadedLog(LogIndex):
    """The index of a session's events, and where their lines begin. It tells of the file up to
    ``end``."""

    __slots__ = ("_offsets", "end", "file")

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts.session_id, head_seq=facts.after)
        self.file = facts.file
        self.end = 0
        self._offsets = array("Q")

    def extend(self, events: Iterable[EventLine], facts: Facts) -> list[str]:
        """Take in what came; returns the ids of runs that it ends."""
        ended: list[str] = []
        for (_, _, type, run_id, key), offset in events:
            self._offsets.append(offset)
            if self.add(type, run_id, key):
                assert run_id is not None
                ended.append(run_id)
        self.trim(facts.oldest_seq)
        self.end = facts.end
        return ended

    def trim(self, before: int) -> int:
        count = super().trim(before)
        del self._offsets[:count]
        return count

    def spans(self, seqs: Sequence[int]) -> list[tuple[int, int, int]]:
        """(first seq, how many, offset) of each stretch of events that follow each other, with the
        offset behind it as the fourth of the next: see ``ends``."""
        found: list[tuple[int, int, int]] = []
        for seq in seqs:
            if found and sum(found[-1][:2]) == seq:
                found[-1] = found[-1][0], found[-1][1] + 1, found[-1][2]
            else:
                found.append((seq, 1, self._offsets[seq - self.oldest_seq]))
        return found

    def end_of(self, seq: int) -> int:
        """An offset behind the event's line and at most at the beginning of the next event's."""
        place = seq + 1 - self.oldest_seq
        return self._offsets[place] if place < len(self._offsets) else self.end


class Span:
    """Events that stand one behind the other in a file."""

    __slots__ = ("count", "end", "first", "start")

    def __init__(self, first: int, count: int, start: int, end: int) -> None:
        self.first = first
        self.count = count
        self.start = start
        self.end = end


def spans_of(log: LoadedLog, seqs: Sequence[int]) -> list[Span]:
    """Where these events stand."""
    return [
        Span(first, count, start, log.end_of(first + count - 1))
        for first, count, start in log.spans(seqs)
    ]


@contextlib.contextmanager
def opened_log(disk: Disk, layout: Layout, facts: Facts) -> Iterator[File]:
    """The file that these facts are about. Raises Moved and OSError."""
    try:
        file = disk.open(layout.path(log_name(facts.stem)))
    except FileNotFoundError as error:
        raise Moved from error
    try:
        if file_number(file) != facts.file:
            raise Moved
        yield file
    finally:
        file.close()


def load_log(disk: Disk, layout: Layout, facts: Facts) -> LoadedLog:
    """The index of a file up to where the facts end. Raises Moved, CorruptLog and OSError."""
    path = str(layout.path(log_name(facts.stem)))
    with opened_log(disk, layout, facts) as file:
        try:
            start = read_header(file)
        except Damage as error:
            raise CorruptLog(file=path, offset=0, reason=f"line 1: {error}") from error
        found = scan(file, start, to=facts.end, keep_events=True)
        if found.bad is not None:
            raise found.bad.error(path)
    log = LoadedLog(start)
    log.trim(start.oldest_seq)
    log.extend(found.events, facts)
    return log


def load_events(disk: Disk, layout: Layout, facts: Facts, spans: Sequence[Span]) -> list[Event]:
    """The events that stand there. Raises Moved, CorruptLog and OSError."""
    events: list[Event] = []
    path = str(layout.path(log_name(facts.stem)))
    with opened_log(disk, layout, facts) as file:
        for span in spans:
            last = span.first + span.count
            seq = span.first
            for line in read_lines(file, span.start, span.end):
                if seq == last or not line.text.startswith(b'{"seq":'):
                    continue
                try:
                    event = read_event(facts.session_id, line.text)
                except Damage as error:
                    reason = f"the line of seq {seq}: {error}"
                    raise CorruptLog(file=path, offset=line.offset, reason=reason) from error
                if event.seq != seq:
                    raise _changed(path, line.offset, seq)
                events.append(event)
                seq += 1
            if seq != last:
                raise _changed(path, span.start, seq)
    return events


def _changed(path: str, offset: int, seq: int) -> CorruptLog:
    reason = f"seq {seq} does not stand here any more: something else wrote to this file"
    return CorruptLog(file=path, offset=offset, reason=reason)


def follow_log(
    disk: Disk, layout: Layout, stem: str, known: Facts | None, *, keep_events: bool
) -> tuple[Facts, Sequence[EventLine] | None] | None:
    """What a file holds now, and the events that are new if they were asked for and the file is
    the one that is known. None if there is no such file. Raises CorruptLog and OSError.
    """
    path = layout.path(log_name(stem))
    try:
        file = disk.open(path)
    except FileNotFoundError:
        return None
    try:
        size = file.size()
        if known is not None and file_number(file) == known.file:
            if known.end == size:
                return known, None
            start = known
        else:
            start = read_header(file)
            keep_events = False
        found = scan(file, start, to=size, keep_events=keep_events)
        bad = found.bad
        if bad is not None and whole_batch_follows(file, start.session_id, bad.offset, size):
            raise bad.error(str(path))
        return found.facts, found.events if keep_events else None
    except Damage as error:
        raise CorruptLog(file=str(path), offset=0, reason=f"line 1: {error}") from error
    finally:
        file.close()
