"""What one append becomes, and how the changes of one commit are put together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from moorage.runtime.errors import InvalidArgument

from .commit_log import REMOVE
from .lines import Head, close, event_line, info_to_json, note_line
from .scanning import EventLine, Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Record

    from .works import Appending


@attrs.define
class WriteCounts:
    """What a writer has done since the store was opened."""

    commits: int = 0
    failed: int = 0
    records: int = 0
    bytes: int = 0
    checkpoints: int = 0
    rewrites: int = 0


def behind(facts: Facts, content: bytes, work: Appending, commit: int) -> Facts:
    """The facts when the content of an append stands behind what they told of."""
    count = len(work.records)
    return attrs.evolve(
        facts,
        head_seq=facts.head_seq + count,
        modified_at_ns=work.records[-1].time_ns if count else facts.modified_at_ns,
        commit=commit,
        end=facts.end + len(content),
        lines=facts.lines + max(count, 1),
        info=facts.info if work.info is None else work.info,
    )


def batch(
    facts: Facts, records: Sequence[Record], info: bytes | None, commit: int
) -> tuple[bytes, list[EventLine]]:
    """The lines of one append and where each event stands. Raises InvalidArgument."""
    if not records:
        assert info is not None
        return close([note_line(info=info_to_json(info))], facts.session_id, commit), []
    lines: list[bytes] = []
    events: list[EventLine] = []
    offset, last = facts.end, len(records) - 1
    try:
        for place, record in enumerate(records):
            seq = facts.head_seq + 1 + place
            line = event_line(seq, record, info if place == last else None)
            lines.append(line)
            head = Head(seq, record.time_ns, record.type, record.run_id, record.key)
            events.append(EventLine(head, offset))
            offset += len(line) + 1
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise InvalidArgument(
            f"an append to session {facts.session_id!r} cannot be kept: {error}"
        ) from error
    return close(lines, facts.session_id, commit), events


def put_together(parts: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Join what goes one behind the other into one file; what is replaced was in vain."""
    joined: list[tuple[int, int, list[bytes]]] = []
    for file, offset, content in parts:
        if offset < 0:
            joined = [(file, offset, [content])]
        elif joined and joined[-1][1] != REMOVE and joined[-1][0] == file:
            joined[-1][2].append(content)
        else:
            joined.append((file, offset, [content]))
    return [(file, offset, b"".join(contents)) for file, offset, contents in joined]
