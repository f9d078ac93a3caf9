"""What the writer is asked to do, and how a batch of it becomes statements. Pure."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import attrs
from moorage.runtime.ports import Record, Snapshot

from ..group_commit import Job
from ..relational.rows import InfoValues, run_rows
from .arrays import bigints, booleans, byteas, texts

Letter = tuple[str, bytes]
"""The id of a command and the answer to it."""
Demands = tuple[str | None, str | None]
"""See ``demand_values``; two None of an append without an info."""
NO_DEMANDS: Demands = (None, None)


@attrs.frozen
class Append:
    """Result: the ids of runs that ended. ``modified_ns`` is that of the info, for an append
    without records."""

    session_id: str
    number: int
    epoch: int
    expected_seq: int
    records: Sequence[Record]
    info: InfoValues | None
    modified_ns: int = 0
    demands: Demands = NO_DEMANDS
    answered: Sequence[Letter] = ()


@attrs.frozen
class SaveSnapshot:
    session_id: str
    number: int
    epoch: int
    snapshot: Snapshot


@attrs.frozen
class SaveCursor:
    session_id: str
    name: str
    seq: int


@attrs.frozen
class Trim:
    session_id: str
    number: int
    epoch: int
    before: int


@attrs.frozen
class Delete:
    session_id: str
    number: int
    epoch: int
    answered: Sequence[Letter] = ()


@attrs.define
class Counts:
    commits: int = 0
    commits_failed: int = 0
    reconnects: int = 0
    resolved: int = 0
    fenced: int = 0
    records: int = 0
    bytes: int = 0


Step = Sequence[Job]
"""Appends to different sessions, or one other write."""


def steps(batch: Sequence[Job]) -> list[list[Job]]:
    """The batch in its order, with appends to different sessions put together."""
    found: list[list[Job]] = []
    numbers: set[int] = set()
    for job in batch:
        is_append = isinstance(job.work, Append)
        if is_append and numbers and job.work.number not in numbers:
            found[-1].append(job)
            numbers.add(job.work.number)
        else:
            found.append([job])
            numbers = {job.work.number} if is_append else set()
    return found


_NO_INFO = (None, None, None)


def append_values(jobs: Step, node: int) -> tuple[Any, ...]:
    """The parameters of ``statements.APPEND``, or, where there are answers among the jobs, those of
    ``APPEND_ANSWERING`` without the last. Sets the results of the jobs."""
    heads: list[tuple[Any, ...]] = []
    sessions: list[int] = []
    seqs: list[int] = []
    types: list[str] = []
    run_ids: list[str | None] = []
    bodies: list[bytes] = []
    runs: list[tuple[Any, ...]] = []
    for job in jobs:
        work: Append = job.work
        number, first_seq, records = work.number, work.expected_seq, work.records
        count, modified_ns = len(records), work.modified_ns
        ended: list[str] = []
        if records:
            _, of_type, of_run, body, _ = zip(*records, strict=True)
            sessions += [number] * count
            seqs += range(first_seq, first_seq + count)
            types += of_type
            run_ids += of_run
            bodies += body
            rows, ended = run_rows(first_seq, records)
            runs += [(number, *row) for row in rows]
            modified_ns = records[-1].time_ns
        job.result = ended
        info = _NO_INFO if work.info is None else work.info
        heads.append((number, work.epoch, first_seq, count, modified_ns, *info, *work.demands))
    numbers, epochs, firsts, counts, modified, infos, closed, needs_worker, demands, demand_keys = (
        zip(*heads, strict=True)
    )
    of_session, ids, submitted, ends, keys = zip(*runs, strict=True) if runs else ((),) * 5
    return (
        bigints(numbers),
        bigints(epochs),
        bigints(firsts),
        bigints(counts),
        bigints(modified),
        byteas(infos),
        booleans(closed),
        booleans(needs_worker),
        texts(demands),
        texts(demand_keys),
        *_letter_values(jobs, node),
        node,
        bigints(sessions),
        bigints(seqs),
        texts(types),
        texts(run_ids),
        byteas(bodies),
        bigints(of_session),
        texts(ids),
        bigints(submitted),
        bigints(ends),
        texts(keys),
    )


def _letter_values(jobs: Step, node: int) -> tuple[Any, ...]:
    letters = [(job.work.number, *letter) for job in jobs for letter in job.work.answered]
    if not letters:
        return ()
    numbers, ids, answers = zip(*letters, strict=True)
    return bigints(numbers), texts(ids), byteas(answers), node


@functools.lru_cache(maxsize=1_024)
def demand_values(demands: frozenset[str]) -> tuple[str, str]:
    """(an array of texts as Postgres reads it, a key that stands for it; "" for none)."""
    words = sorted(demands)
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    array = "{" + ",".join(f'"{word}"' for word in quoted) + "}"
    return array, hashlib.blake2b(array.encode(), digest_size=16).hexdigest() if words else ""
