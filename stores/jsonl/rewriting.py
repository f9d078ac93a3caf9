"""A session's file without what was trimmed away: a new file in the place of the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..journal.disk import creating
from .layout import log_name
from .lines import FORMAT, Damage, close, closing, info_to_json, note_line, read_head
from .scanning import Facts, read_header, read_lines

if TYPE_CHECKING:
    from ..journal.disk import Disk, File
    from .layout import Layout

REWRITTEN_BYTES_MIN = 2**16
"""Files below this are left as they are, whatever was trimmed of them."""
_COPY_BYTES = 2**20


def header_line(facts: Facts) -> bytes:
    """The first line of a session's file, closed; it tells all of ``facts`` but head and end."""
    line = note_line(
        moorage="session",
        file=f"{facts.file:016x}",
        format=FORMAT,
        session_id=facts.session_id,
        life=facts.life,
        after=facts.after,
        oldest_seq=facts.oldest_seq,
        modified_at_ns=facts.modified_at_ns,
        info=None if facts.info is None else info_to_json(facts.info),
    )
    return close([line], facts.session_id, facts.commit)


def worth_rewriting(facts: Facts) -> bool:
    """Whether more than half of a file that is not small was trimmed away, as far as can be told
    from the number of events."""
    trimmed = facts.oldest_seq - 1 - facts.after
    return facts.end > REWRITTEN_BYTES_MIN and trimmed * 2 > facts.head_seq - facts.after


def rewrite(disk: Disk, layout: Layout, facts: Facts, number: int) -> Facts:
    """Put a file without the trimmed events in the place of the old one, durable on return.

    Raises Damage and OSError.
    """
    path = layout.path(log_name(facts.stem))
    new = attrs.evolve(facts, file=number, after=facts.oldest_seq - 1)
    header = header_line(new)
    old = disk.open(path)
    try:
        start, first, lines = _kept(old, facts)
        temporary = path.with_name(path.name + ".new")
        with creating(disk, temporary) as file:
            file.write([header, first], 0)
            end = len(header) + len(first)
            while start < facts.end:
                part = old.read(min(_COPY_BYTES, facts.end - start), start)
                if not part:
                    raise Damage("the file is shorter than it was")
                file.write([part], end)
                start += len(part)
                end += len(part)
            file.sync()
    finally:
        old.close()
    disk.rename(temporary, path)
    disk.sync_directory(path.parent)
    return attrs.evolve(new, end=end, lines=1 + lines)


def _kept(old: File, facts: Facts) -> tuple[int, bytes, int]:
    """Where the first batch begins that is kept as it is, what goes before it (the rest of a batch
    of which the beginning is trimmed away) and how many lines all of that has."""
    batch: list[bytes] = []
    start = read_header(old).end
    number = 1
    for line in read_lines(old, start, facts.end):
        number += 1
        head = read_head(line.text)
        if head is not None and head.seq >= facts.oldest_seq:
            batch.append(line.text)
        end = closing(line.text)
        if end is None:
            continue
        if batch:
            batch[-1] = batch[-1][: end.start].rpartition(b',"commit":')[0] + b"}"
            first = close(batch, facts.session_id, end.commit)
            return line.end, first, len(batch) + facts.lines - number
    return facts.end, b"", 0
