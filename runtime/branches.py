"""Branches: which stretches of a session's log lead to a point of it.

A log only grows, but a conversation may go back and on from there. Where it does, a new segment
of the log begins whose parent is an earlier seq; what lies between is on no path to the head any
more, and still in the log::

    seq    1  2  3  4  5 | 6  7        segments (first_seq, parent_seq): (1, 0), (6, 3)
    path of 7            1 2 3 6 7
    path of 5            1 2 3 4 5     gone back to by a third segment (8, 5)

Pure.
"""

from __future__ import annotations

from bisect import bisect_right

import attrs


@attrs.frozen
class Segment:
    """A stretch of the log that begins at ``first_seq`` and goes on from ``parent_seq``.

    ``cleared`` says that the messages before it were left behind, though not the settings.
    """

    first_seq: int
    parent_seq: int
    cleared: bool = False
    name: str | None = None


@attrs.frozen
class Branch:
    """One line of a conversation: ``name`` if it was given one, where it left another one
    (``from_seq``, 0 for the first one), its last seq, and whether it is the active one."""

    name: str | None
    from_seq: int
    first_seq: int
    last_seq: int
    active: bool


class Branches:
    """The segments of one session's log, in order."""

    def __init__(self, segments: list[Segment] | None = None) -> None:
        self.segments = segments or [Segment(1, 0)]

    def begin(
        self, first_seq: int, parent_seq: int, *, cleared: bool = False, name: str | None = None
    ) -> None:
        self.segments.append(Segment(first_seq, parent_seq, cleared, name))

    def path(self, seq: int, *, through_clears: bool = False) -> list[tuple[int, int]]:
        """The stretches (first, last), both inclusive and in order, that lead to ``seq``."""
        path: list[tuple[int, int]] = []
        while seq > 0:
            index = bisect_right(self.segments, seq, key=lambda segment: segment.first_seq) - 1
            segment = self.segments[index]
            path.append((segment.first_seq, seq))
            if segment.cleared and not through_clears:
                break
            seq = segment.parent_seq
        return path[::-1]

    def listed(self, head_seq: int) -> list[Branch]:
        """Every branch, oldest first, in a log that ends at ``head_seq``."""
        ends = [segment.first_seq - 1 for segment in self.segments[1:]] + [head_seq]
        return [
            Branch(
                name=segment.name,
                from_seq=segment.parent_seq,
                first_seq=segment.first_seq,
                last_seq=end,
                active=segment is self.segments[-1],
            )
            for segment, end in zip(self.segments, ends, strict=True)
        ]
