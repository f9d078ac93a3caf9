"""The one place where values become bytes: plain msgpack, no ext types.

An event is stored as ``[time_ns, type, run_id, data, metadata, version]``; its session and seq
come from where it is stored. Unknown trailing fields are ignored on load, so a later version may
add some. Structures of our own (session info, snapshots) go through cattrs into maps of names, in
which unknown keys are ignored too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import cattrs
import msgpack
from cattrs.errors import BaseValidationError

from .errors import CorruptLog, InvalidArgument, RecordTooLarge
from .events import STATE_TYPES, TIME_NS_MAX, Data, Event, lift, schema_version
from .identifiers import check_name
from .ports import Record
from .runs import RunState
from .sessions import SessionInfo, SessionState

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIMPLE = frozenset({type(None), bool, float, str, bytes})
"""Types that need no further look; an int may be too large."""
_INT_MIN = -(2**63)
_INT_MAX = 2**64 - 1
_DEPTH_MAX = 100

_pack = msgpack.Packer(autoreset=True, strict_types=True, use_bin_type=True).pack


def check_plain(value: object, what: str = "data") -> None:
    """Raise InvalidArgument, naming the place, unless ``value`` is plain msgpack."""
    _check(value, what, 0)


def _check(value: object, path: str, depth: int) -> None:
    if depth > _DEPTH_MAX:
        raise InvalidArgument(f"{path[:80]}... is nested more than {_DEPTH_MAX} deep")
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidArgument(
                    f"{path} has the key {key!r} of type {type(key).__name__}: keys must be str"
                )
            if type(item) not in _SIMPLE:
                _check(item, f"{path}[{key!r}]", depth + 1)
    elif type(value) is list:
        for index, item in enumerate(value):
            if type(item) not in _SIMPLE:
                _check(item, f"{path}[{index}]", depth + 1)
    elif type(value) is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise InvalidArgument(f"{path} is an integer outside 64 bits: {value:#x}")
    elif type(value) not in _SIMPLE:
        kind = type(value)
        raise InvalidArgument(
            f"{path} is a {kind.__module__}.{kind.__qualname__}: only None, bool, int, float, "
            "str, bytes, list and dict with str keys can be kept (convert it first)"
        )


def pack(value: Data, what: str = "data") -> bytes:
    """Encode plain data; raises InvalidArgument for anything else."""
    check_plain(value, what)
    try:
        return _pack(value)  # type: ignore[no-any-return]
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"{what} cannot be encoded: {error}") from error


def unpack(body: bytes | memoryview) -> Data:
    """Decode what ``pack`` made; raises ValueError (msgpack's) for anything else."""
    return msgpack.unpackb(body, use_list=True, raw=False, strict_map_key=True)


def pack_plain(value: Data) -> bytes:
    """Encode data that is known to be plain, as what comes from a store is."""
    return _pack(value)  # type: ignore[no-any-return]


def copy_plain(value: Data) -> Data:
    """A copy, that shares nothing, of data that is known to be plain."""
    return unpack(_pack(value))


def private_copy(value: Data, what: str, *, bytes_max: int) -> tuple[Data, int]:
    """A copy that shares nothing with the caller's, and its encoded size in bytes.

    Raises InvalidArgument and RecordTooLarge.
    """
    body = pack(value, what)
    if len(body) > bytes_max:
        raise RecordTooLarge(what, size=len(body), limit=bytes_max)
    return unpack(body), len(body)


def encode_event(
    time_ns: int,
    type: str,
    run_id: str | None,
    data: Data,
    metadata: dict[str, Any] | None = None,
    *,
    version: int = 1,
    key: str | None = None,
    bytes_max: int | None = None,
    checked: bool = False,
) -> Record:
    """Encode an event for a store; raises InvalidArgument and RecordTooLarge.

    ``checked`` says that the data is known to be plain.
    """
    if not checked:
        _check(data, "data", 0)
        if metadata is not None:
            _check(metadata, "metadata", 0)
    try:
        body = _pack([time_ns, type, run_id, data, metadata, version])
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidArgument(f"data of {type!r} cannot be encoded: {error}") from error
    if bytes_max is not None and len(body) > bytes_max:
        raise RecordTooLarge(f"event {type!r}", size=len(body), limit=bytes_max)
    return Record(time_ns, type, run_id, body, key)


_CHECKED_TYPES: set[str] = set()
_CHECKED_TYPES_MAX = 1_000


def encode_emitted(
    time_ns: int,
    type: str,
    run_id: str,
    data: Data,
    metadata: dict[str, Any] | None,
    *,
    bytes_max: int,
) -> Record:
    """Encode what an agent emits, of which nothing was checked. Raises InvalidArgument, also for
    types that only the session writes, and RecordTooLarge."""
    if type.__class__ is not str or type not in _CHECKED_TYPES:
        _check_emitted_type(type)
    if metadata is not None and metadata.__class__ is not dict:
        raise InvalidArgument(f"metadata must be a dict, not {metadata!r}")
    if time_ns.__class__ is not int or not 0 <= time_ns <= TIME_NS_MAX:
        raise InvalidArgument(
            f"time_ns must be whole nanoseconds since 1970, from 0 to {TIME_NS_MAX}, "
            f"not {time_ns!r}"
        )
    return encode_event(
        time_ns, type, run_id, data, metadata, version=schema_version(type), bytes_max=bytes_max
    )


def check_event_type(type: str) -> None:
    """Raise InvalidArgument for what is no name, and for types that only the session writes."""
    check_name("event type", type)
    if type in STATE_TYPES:
        raise InvalidArgument(f"{type!r} is written by the session itself: use another type")


def _check_emitted_type(type: str) -> None:
    check_event_type(type)
    if len(_CHECKED_TYPES) < _CHECKED_TYPES_MAX:
        _CHECKED_TYPES.add(type)


def decode_event(session_id: str, seq: int, body: bytes | memoryview) -> Event:
    """Decode one event body. Raises CorruptLog if it is none."""
    try:
        fields = unpack(body)
    except (ValueError, msgpack.UnpackException) as error:
        raise _undecodable(session_id, seq, error) from error
    return _event(session_id, seq, fields)


def decode_events(session_id: str, first_seq: int, bodies: Sequence[bytes]) -> list[Event]:
    """Decode bodies of consecutive events in one pass. Raises CorruptLog."""
    count = len(bodies)
    block = b"".join((b"\xdd", count.to_bytes(4, "big"), *bodies))  # msgpack array 32
    return decode_block(session_id, first_seq, block)


def decode_block(session_id: str, first_seq: int, block: bytes | memoryview) -> list[Event]:
    """Decode a msgpack array of event bodies, numbered from ``first_seq``. Raises CorruptLog."""
    try:
        rows = unpack(block)
    except (ValueError, msgpack.UnpackException) as error:
        raise _undecodable(session_id, first_seq, error) from error
    return [_event(session_id, seq, row) for seq, row in enumerate(rows, first_seq)]


def _event(session_id: str, seq: int, row: Any) -> Event:
    try:
        time_ns, type, run_id, data, metadata, version = row[:6]
        version, data = lift(type, version, data)
    except (ValueError, TypeError, KeyError) as error:
        raise _undecodable(session_id, seq, error) from error
    return Event(session_id, seq, time_ns, type, run_id, data, metadata, version)


def _undecodable(session_id: str, seq: int, error: Exception) -> CorruptLog:
    return CorruptLog(
        file=f"session {session_id!r}", offset=seq, reason=f"event cannot be decoded: {error!r}"
    )


_converter = cattrs.Converter(omit_if_default=True)
T = TypeVar("T")


def _exactly(*kinds: type) -> Any:
    # cattrs would turn "7" into 7 and 5 into "5": what is stored has the right type or is damaged
    def structure(value: Any, wanted: type) -> Any:
        if type(value) not in kinds:
            raise TypeError(f"{value!r} is not a {wanted.__name__}")
        return value

    return structure


_converter.register_structure_hook(int, _exactly(int))
_converter.register_structure_hook(str, _exactly(str))
_converter.register_structure_hook(bool, _exactly(bool))
_converter.register_structure_hook(bytes, _exactly(bytes))
_converter.register_structure_hook(float, _exactly(float, int))
# these two are str as well, and would be taken by its hook
_converter.register_structure_hook(RunState, lambda value, _: RunState(value))
_converter.register_structure_hook(SessionState, lambda value, _: SessionState(value))
# strict packing refuses enums; cattrs passes an optional one through as it is
_converter.register_unstructure_hook(RunState, lambda state: state.value)
_converter.register_unstructure_hook(SessionState, lambda state: state.value)
_converter.register_unstructure_hook(
    SessionState | None, lambda state: None if state is None else state.value
)


def _info_fields(info: SessionInfo) -> dict[str, Any]:
    # by hand: one is encoded with every change of a run, and cattrs takes five times as long
    fields: dict[str, Any] = {
        "id": info.id,
        "state": info.state.value,
        "tags": info.tags,
        "metadata": info.metadata,
        "created_at_ns": info.created_at_ns,
        "modified_at_ns": info.modified_at_ns,
        "head_seq": info.head_seq,
        "runs": info.runs,
        "slots": info.slots,
    }
    if info.summary is not None:
        fields["summary"] = info.summary
    if info.outcome is not None:
        fields["outcome"] = info.outcome
    if info.reason is not None:
        fields["reason"] = info.reason
    if info.timed_waits:
        fields["timed_waits"] = info.timed_waits
    if info.closed_at_ns is not None:
        fields["closed_at_ns"] = info.closed_at_ns
    if info.deleted_at_ns is not None:
        fields["deleted_at_ns"] = info.deleted_at_ns
    if info.expire_after_seconds is not None:
        fields["expire_after_seconds"] = info.expire_after_seconds
    if info.node_tags:
        fields["node_tags"] = info.node_tags
    if info.agents:
        fields["agents"] = list(info.agents)
    return fields


_converter.register_unstructure_hook(SessionInfo, _info_fields)


def encode_info(info: SessionInfo) -> bytes:
    """What ``encode_struct`` makes of it."""
    return _pack(_info_fields(info))  # type: ignore[no-any-return]


def encode_struct(value: Any) -> bytes:
    """Encode an attrs object of ours; defaults are left out."""
    return _pack(_converter.unstructure(value))  # type: ignore[no-any-return]


def decode_struct(body: bytes | memoryview, kind: type[T]) -> T:
    """Decode what encode_struct made; raises ValueError for anything else."""
    try:
        return _converter.structure(unpack(body), kind)
    except (BaseValidationError, KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not a {kind.__name__}: {error!r}") from error
