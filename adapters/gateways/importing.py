"""``moorage import``: an export becomes a session again, with its times, types and outcomes.

So does what a ``FileSink`` has written of a session from its first event on, in either form of
JSON lines. The whole file is checked before anything is written: every line, the order of seqs, and
that the events can follow each other. While it is written the session is marked as quarantined, so
that a crash in between leaves nothing that looks complete or starts working.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import attrs
import trio
from moorage.adapters.sinks import event_from_json
from moorage.adapters.sinks.compact_lines import HEADER, CompactLinesReader
from moorage.runtime import InvalidArgument, MoorageError, SessionState
from moorage.runtime.codec import decode_struct, encode_event, encode_struct, pack
from moorage.runtime.events import STATE_TYPES, Event
from moorage.runtime.identifiers import check_name, check_session_id
from moorage.runtime.image import SessionImage
from moorage.runtime.ports import Record, Snapshot
from moorage.runtime.reversible_json import EVENT_KEYS, from_json

from .data_directory import owned
from .exporting import EXPORT_VERSION
from .frame import CommandFailed, note

if TYPE_CHECKING:
    from moorage.runtime.ports import Claim, Store

BATCH_EVENTS = 1_000
BATCH_BYTES = 4 * 1024 * 1024


Events = Callable[[], Iterator[tuple[int, Event]]]
"""Every event of an export, in order, with the number of its line."""


@attrs.frozen
class Export:
    """A checked export. ``image`` is the state that all of its events lead to."""

    session_id: str
    first_seq: int
    last_seq: int
    image: SessionImage


async def import_session(store: Store, file: IO[str], new_id: str | None) -> str:
    """Bring the export in the seekable ``file`` into a new session, ``new_id`` or that of the
    file; returns its id. Raises CommandFailed naming the line, with nothing changed."""
    export = await trio.to_thread.run_sync(check_export, file)
    return await write_session(store, export, partial(_events, file), new_id)


async def write_session(store: Store, export: Export, events: Events, new_id: str | None) -> str:
    """Make the session ``new_id``, or that of the export, of ``events()``; returns its id."""
    if new_id is not None:
        check_session_id(new_id)
    session_id = new_id or export.session_id
    async with owned(store, "import", may_create=True):
        claim = await store.claim(session_id)
        if claim.info is not None:
            raise CommandFailed(
                f"session {session_id!r} exists: import under another id with --as NEWID, or "
                "delete it first"
            )
        shift = claim.head_seq + 1 - export.first_seq
        if shift:
            note(f"events are numbered from {claim.head_seq + 1}, not from {export.first_seq}")
        try:
            await _write(store, claim, export, events(), shift)
        except BaseException:
            with trio.CancelScope(shield=True):
                await store.delete(claim)
            raise
        await store.release(claim)
    unfinished = len(export.image.runs)
    if unfinished:
        note(f"{unfinished} runs are unfinished: they go on when a supervisor opens the journal")
    return session_id


def check_export(file: IO[str]) -> Export:
    """Read the whole file and check it. Raises CommandFailed naming the line."""
    header, session_id, first_seq, last_seq = _header(file)
    if last_seq is None:
        last_seq = _last_seq(file)
    image = _image(header, session_id, first_seq)
    snapshot_seq = image.head_seq
    seq = first_seq - 1
    for number, event in _events(file):
        seq += 1
        if (event.session_id, event.seq) != (session_id, seq):
            raise _bad(
                number,
                f"expected seq {seq} of session {session_id!r}, found seq {event.seq} of "
                f"{event.session_id!r}",
            )
        if seq == first_seq and image.state is None and event.type != "session_opened":
            raise _bad(
                number,
                f"the file begins at seq {seq} with {event.type}: there is no session_opened "
                "event, and no usable snapshot of what went before",
            )
        try:
            record(event)
            if event.seq > snapshot_seq:
                image.apply(event) if event.type in STATE_TYPES else None
        except MoorageError as error:
            raise _bad(number, str(error)) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _bad(number, f"{event.type} cannot follow here ({error!r})") from error
    if seq != last_seq:
        raise CommandFailed(
            f"the file ends with seq {seq} and its first line promises {last_seq}: it was cut"
        )
    return Export(session_id, first_seq, last_seq, image)


def is_events_file(head: bytes) -> bool:
    """Whether a file that begins with this was written by a FileSink."""
    if head.startswith(f'{{"{HEADER}":'.encode()):
        return True
    return head.startswith(b'{"session_id":') and b'"seq":' in head


def _header(file: IO[str]) -> tuple[dict[str, Any], str, int, int | None]:
    """The first line, the session's id, and the range of seqs; None: as far as the file goes."""
    file.seek(0)
    header = _parse(1, file.readline())
    if HEADER in header or set(EVENT_KEYS) <= header.keys():
        try:
            return header, check_session_id(header.get("session_id", "")), 1, None
        except InvalidArgument as error:
            raise _bad(1, str(error)) from error
    version = header.get("moorage_export")
    if type(version) is not int:
        raise _bad(1, "this is no export of moorage: it does not begin with moorage_export")
    if version > EXPORT_VERSION:
        raise _bad(
            1,
            f"the export has version {version} and this moorage reads up to {EXPORT_VERSION}: "
            "use a newer one",
        )
    try:
        session_id = check_session_id(header["session"]["id"])
        first_seq, last_seq = header["first_seq"], header["last_seq"]
    except (KeyError, TypeError) as error:
        raise _bad(1, f"it lacks {error}") from error
    except InvalidArgument as error:
        raise _bad(1, str(error)) from error
    if type(first_seq) is not int or type(last_seq) is not int or not 1 <= first_seq <= last_seq:
        raise _bad(1, f"first_seq {first_seq!r} and last_seq {last_seq!r} are no range")
    return header, session_id, first_seq, last_seq


def _image(header: dict[str, Any], session_id: str, first_seq: int) -> SessionImage:
    """The state before the first event: nothing, or what the snapshot of a trimmed one says."""
    if first_seq == 1 or "snapshot" not in header:
        image = SessionImage(session_id)
        image.head_seq = first_seq - 1
        return image
    try:
        image = decode_struct(pack(from_json(header["snapshot"]["state"])), SessionImage)
        image.head_seq = header["snapshot"]["seq"]
    except (KeyError, TypeError, ValueError) as error:
        raise _bad(1, f"it begins at seq {first_seq} without a usable snapshot: {error}") from error
    return image


def _last_seq(file: IO[str]) -> int:
    seq = 0
    for _, event in _events(file):
        seq = event.seq
    return seq


def _events(file: IO[str]) -> Iterator[tuple[int, Event]]:
    """Every event with the number of its line, from behind the header if there is one."""
    file.seek(0)
    header = _parse(1, file.readline())
    number = 1
    try:
        read = CompactLinesReader(header).event if HEADER in header else event_from_json
        if "moorage_export" not in header and HEADER not in header:
            yield number, read(header)
        for number, line in enumerate(file, 2):
            yield number, read(_value(number, line))
    except InvalidArgument as error:
        raise _bad(number, str(error)) from error


def _parse(number: int, line: str) -> dict[str, Any]:
    value = _value(number, line)
    if type(value) is not dict:
        raise _bad(number, f"a JSON object is expected, not {line[:60]!r}")
    return value


def _value(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        what = "the file is empty" if number == 1 and not line else f"no JSON ({error})"
        raise _bad(number, what) from error


def _bad(number: int, reason: str) -> CommandFailed:
    return CommandFailed(f"line {number}: {reason}; nothing was imported")


def record(event: Event) -> Record:
    """What a store takes; raises InvalidArgument if the event cannot be one."""
    check_name("event type", event.type)
    key = event.data.get("key") if event.type == "run_submitted" else None
    return encode_event(
        event.time_ns,
        event.type,
        event.run_id,
        event.data,
        event.metadata,
        version=event.version,
        key=key,
    )


async def _write(
    store: Store,
    claim: Claim,
    export: Export,
    events: Iterator[tuple[int, Event]],
    shift: int,
) -> None:
    image = shifted(export.image, claim.session_id, shift)
    image.head_seq = export.last_seq + shift
    info = image.info()
    unfinished = attrs.evolve(
        info, state=SessionState.QUARANTINED, reason="its import was not finished: delete it"
    )
    records: list[Record] = []
    size = 0
    seq = claim.head_seq + 1
    for _, event in events:
        records.append(record(event))
        size += len(records[-1].body)
        last = event.seq == export.last_seq
        if last or len(records) >= BATCH_EVENTS or size >= BATCH_BYTES:
            await store.append(
                claim, expected_seq=seq, records=records, info=info if last else unfinished
            )
            seq += len(records)
            records, size = [], 0
    await store.save_snapshot(claim, Snapshot(seq=image.head_seq, body=encode_struct(image)))


def shifted(image: SessionImage, session_id: str, shift: int) -> SessionImage:
    """The image of the same session under another id and numbering."""
    runs = {run_id: attrs.evolve(run, seq=run.seq + shift) for run_id, run in image.runs.items()}
    return attrs.evolve(image, session_id=session_id, runs=runs)
