"""Events as JSON that can be turned back into the very same events.

JSON has no bytes and no NaN or infinity. Such values are written as an object with one key::

    {"$bytes": "aGk="}    {"$float": "nan"}

A map's own key that begins with ``$`` gets another ``$`` in front, so nothing is ambiguous.
Integers are JSON numbers with all their digits; readers that make doubles of them (JavaScript, jq
before 1.7) lose the last ones of those above 2^53, such as times in nanoseconds.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import TYPE_CHECKING, Any

from .codec import check_plain
from .errors import InvalidArgument
from .events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .events import Data

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
# line separators to some readers of lines, and so escaped although JSON allows them
_SEPARATORS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
EVENT_KEYS = ("session_id", "seq", "time_ns", "type", "run_id", "data", "metadata", "version")


def to_json(value: Data) -> Any:
    """Plain data as a value that ``json`` writes and every reader keeps exactly."""
    kind = type(value)
    if kind is dict:
        return {
            f"${key}" if key.startswith("$") else key: to_json(item) for key, item in value.items()
        }
    if kind is list:
        return [to_json(item) for item in value]
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if kind is float and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def from_json(value: Any) -> Data:
    """What ``to_json`` was given. Raises InvalidArgument for what it cannot have made."""
    if type(value) is list:
        return [from_json(item) for item in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        key, item = next(iter(value.items()))
        if key in _SPECIAL:
            return _special(key, item)
    plain: dict[str, Data] = {}
    for key, item in value.items():
        if key.startswith("$") and not key.startswith("$$"):
            raise InvalidArgument(
                f"the key {key!r} is none of {', '.join(_SPECIAL)}: a key of the data that "
                "begins with $ is written with $$"
            )
        plain[key.removeprefix("$")] = from_json(item)
    return plain


def _special(key: str, item: Any) -> Data:
    try:
        return _SPECIAL[key](item)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidArgument(f"{{{key!r}: {item!r}}} cannot be read: {error!r}") from error


_SPECIAL: Mapping[str, Callable[[Any], Data]] = {
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$float": lambda text: _FLOATS[text],
}


def dump_line(value: Any) -> str:
    """One line of JSON, newline included; the value as ``to_json`` made it."""
    text = _encode(value)
    if not text.isascii():
        text = text.translate(_SEPARATORS)
    return text + "\n"


def event_to_json(event: Event) -> dict[str, Any]:
    """An event as a map with the keys EVENT_KEYS."""
    return {
        "session_id": event.session_id,
        "seq": event.seq,
        "time_ns": event.time_ns,
        "type": event.type,
        "run_id": event.run_id,
        "data": to_json(event.data),
        "metadata": to_json(event.metadata),
        "version": event.version,
    }


def event_from_json(value: Any) -> Event:
    """The event that ``event_to_json`` was given. Raises InvalidArgument for anything else."""
    if type(value) is not dict:
        raise InvalidArgument(f"an event is a JSON object, not {value!r:.60}")
    if missing := [key for key in EVENT_KEYS if key not in value]:
        raise InvalidArgument(f"the event has no {', '.join(missing)}")
    event = Event(
        session_id=value["session_id"],
        seq=value["seq"],
        time_ns=value["time_ns"],
        type=value["type"],
        run_id=value["run_id"],
        data=from_json(value["data"]),
        metadata=from_json(value["metadata"]),
        version=value["version"],
    )
    _check(event, _KINDS)
    check_plain(event.data)
    return event


_KINDS: Mapping[str, tuple[type, ...]] = {
    "session_id": (str,),
    "seq": (int,),
    "time_ns": (int,),
    "type": (str,),
    "run_id": (str, type(None)),
    "metadata": (dict, type(None)),
    "version": (int,),
}


def _check(event: Event, kinds: Mapping[str, tuple[type, ...]]) -> None:
    for name, allowed in kinds.items():
        value = getattr(event, name)
        if type(value) not in allowed:
            raise InvalidArgument(f"{name} of an event cannot be {value!r:.60}")
