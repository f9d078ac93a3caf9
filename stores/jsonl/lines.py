"""The lines of a session's file, and what becomes of an event in one.

::

    {"moorage":"session","file":"000000010000002a","format":1,"session_id":"user-1","life":0,
     "after":0,"oldest_seq":1,...,"commit":1,"crc":"5b0e9c1d"}
    {"seq":1,"time":"2026-05-01T09:30:00.125Z","time_ns":1777627800125000000,
     "type":"session_opened","run_id":null,"data":{...}}
    {"seq":2,...,"type":"message_sent","run_id":"run_1","role":"user","content":"Hello",
     "data":{"role":"user","content":{"$line":"content"}},"info":{...},"commit":2,"crc":"0a1b2c3d"}

A batch ends with the line that has ``commit``, a number that counts the commits of the whole store,
and ``crc``: a CRC-32 of everything since the last such line (ends of lines left out, so that CRLF
is LF) whose seed is the session's id. Lines behind the last such line are no part of the log. A
closing line may bring a new ``info``, or say ``trim``: what is below that seq is forgotten.

Reversible: ``data`` and ``metadata`` are written as reversible_json says, and a body that is not
what its own values would be encoded to is kept as bytes. The ``content`` of a message stands on
the line and not in its ``data``, where ``{"$line":"content"}`` marks its place. ``role`` and
``time`` are there to be read by people, and never read back.

Pure: no I/O.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from moorage.runtime.codec import (
    decode_event,
    decode_struct,
    encode_event,
    pack,
    unpack,
)
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.events import Event, lift
from moorage.runtime.reversible_json import dump_line, from_json, to_json
from moorage.runtime.sessions import SessionInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moorage.runtime.ports import Record

FORMAT = 1
_SEED = 0x6D6F6F72
_ROLES = {"message_sent": "user", "message_received": "assistant"}
_PLACE = {"$line": "content"}
_TEXT = rb'"((?:[^"\\]|\\.)*)"'
_HEAD = re.compile(
    rb'\{"seq":(\d+),"time":"[^"]*","time_ns":(-?\d+),"type":' + _TEXT + rb',"run_id":(?:null|'
    + _TEXT + rb')(?:,"key":' + _TEXT + rb")?,"
)  # fmt: skip
_CLOSING = re.compile(rb',"commit":(\d+),"crc":"([0-9a-f]{8})"\}$')
CLOSING_BYTES_MAX = 64
"""The end of a line in which ``closing`` finds what it looks for."""


class Damage(Exception):
    """A line that is not what was written; says how."""


class Head(NamedTuple):
    """What a read selects an event by."""

    seq: int
    time_ns: int
    type: str
    run_id: str | None
    key: str | None


class Closing(NamedTuple):
    commit: int
    crc: int
    start: int
    """Where in the line the part begins that the checksum leaves out."""


def seed_of(session_id: str) -> int:
    """What the checksums of a session's batches begin with."""
    return zlib.crc32(session_id.encode(), _SEED)


def crc_of(text: bytes, session_id: str) -> int:
    """The checksum of a batch of one line, without the part from its ``crc`` on."""
    return zlib.crc32(text, seed_of(session_id))


def close(lines: Sequence[bytes], session_id: str, commit: int) -> bytes:
    """One batch: lines that end with ``}``, the last one closed."""
    body = b'%b,"commit":%d' % (b"\n".join(lines)[:-1], commit)
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body, seed_of(session_id)))


def closing(line: bytes) -> Closing | None:
    """What closes a batch at the end of a line (without its end), None if nothing does."""
    found = _CLOSING.search(line, max(0, len(line) - CLOSING_BYTES_MAX))
    if found is None:
        return None
    return Closing(int(found[1]), int(found[2], 16), found.end(1))


def event_line(seq: int, record: Record, info: bytes | None = None) -> bytes:
    """The line of an event; ``info``, encoded, goes with the last one of a batch."""
    time_ns, type, run_id, body, key = record
    line: dict[str, Any] = {
        "seq": seq,
        "time": _shown_time(time_ns),
        "time_ns": time_ns,
        "type": type,
        "run_id": run_id,
    }
    if key is not None:
        line["key"] = key
    fields = _fields(record)
    if fields is None:
        line["body"] = to_json(body)
    else:
        _, _, _, data, metadata, version = fields
        _put_data(line, type, data)
        if metadata is not None:
            line["metadata"] = to_json(metadata)
        if version != 1:
            line["version"] = version
    if info is not None:
        line["info"] = info_to_json(info)
    return dump_line(line)[:-1].encode()


def _fields(record: Record) -> list[Any] | None:
    """What the body holds, or None if it cannot be told by a line."""
    try:
        fields = unpack(record.body)
        if type(fields) is list and len(fields) == 6 and fields[:3] == list(record[:3]):
            *event, version = fields
            again = encode_event(*event, version=version, checked=True)
            return fields if again.body == record.body else None
    except (ValueError, TypeError):
        pass
    return None


def _put_data(line: dict[str, Any], type: str, data: Any) -> None:
    role = _ROLES.get(type)
    if role is None or data.__class__ is not dict or "content" not in data:
        line["data"] = to_json(data)
        return
    own = data.get("role")
    line["role"] = own if own.__class__ is str else role
    line["content"] = to_json(data["content"])
    line["data"] = {
        f"${key}" if key.startswith("$") else key: _PLACE if key == "content" else to_json(value)
        for key, value in data.items()
    }


@lru_cache(16)
def _shown_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _shown_time(time_ns: int) -> str:
    second, rest = divmod(time_ns, 1_000_000_000)
    return f"{_shown_second(second)}.{rest // 1_000_000:03}Z"


def parse(line: bytes) -> dict[str, Any]:
    """A line as the map it is. Raises Damage."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Damage(f"not JSON: {error}") from error
    if type(value) is not dict:
        raise Damage("not a JSON object")
    return value


def read_head(line: bytes) -> Head | None:
    """What an event's line begins with; None if it is the line of no event. Raises Damage."""
    found = _HEAD.match(line)
    if found is None:
        if line.startswith(b'{"seq":'):
            raise Damage("an event whose line does not begin as it should")
        return None
    seq, time_ns, type, run_id, key = found.groups()
    return Head(int(seq), int(time_ns), _word(type), _word_or_none(run_id), _word_or_none(key))


@lru_cache(1_000)
def _word(text: bytes) -> str:
    return json.loads(b'"%b"' % text)  # type: ignore[no-any-return]


def _word_or_none(text: bytes | None) -> str | None:
    if text is None:
        return None
    return _word(text) if b"\\" in text else text.decode()


def read_event(session_id: str, line: bytes) -> Event:
    """The event that the line tells of. Raises Damage, and CorruptLog for a body that is none."""
    value = parse(line)
    try:
        if "body" in value:
            return decode_event(session_id, value["seq"], from_json(value["body"]))
        type, data = value["type"], value["data"]
        if "content" in value:
            data = {
                key.removeprefix("$"): from_json(value["content"] if item == _PLACE else item)
                for key, item in data.items()
            }
        else:
            data = from_json(data)
        metadata = from_json(value["metadata"]) if "metadata" in value else None
        version, data = lift(type, value.get("version", 1), data)
        return Event(
            session_id,
            value["seq"],
            value["time_ns"],
            type,
            value["run_id"],
            data,
            metadata,
            version,
        )
    except (KeyError, TypeError, AttributeError, InvalidArgument) as error:
        raise Damage(f"not an event: {error!r}") from error


def info_to_json(info: bytes) -> Any:
    """An encoded info as JSON holds it."""
    return to_json(unpack(info))


def info_from_json(value: Any) -> bytes:
    """What ``info_to_json`` was given. Raises Damage."""
    try:
        info = pack(from_json(value), "info")
        decode_struct(info, SessionInfo)
    except ValueError as error:
        raise Damage(f"not the info of a session: {error}") from error
    return info


def note_line(**what: Any) -> bytes:
    """A line that tells of no event."""
    return dump_line(what)[:-1].encode()
