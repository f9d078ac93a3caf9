"""Columns of a batch as the arrays that Postgres receives, in its binary format. Pure.

The driver dumps a list element by element in Python, which was more than half of what the writer's
thread did. Here each column is a few calls into C, whatever its length, and the server parses no
text.

::

    dimensions=1 | may hold nulls=1 | type of elements | count | first index=1 | element ...
    element: length (-1: null) | bytes                        all of it int32, big-endian
"""

from __future__ import annotations

from itertools import chain, repeat
from struct import Struct
from typing import TYPE_CHECKING

from psycopg import DataError, postgres, pq
from psycopg.adapt import Dumper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from psycopg.abc import AdaptContext, Buffer

_HEADER = Struct(">iiIii").pack
_EMPTY = Struct(">iiI").pack
_LENGTH = Struct(">i").pack
_BIGINT = Struct(">iq").pack
_NULL = _LENGTH(-1)
_FALSE, _TRUE = Struct(">i?").pack(1, False), Struct(">i?").pack(1, True)


class Array(bytes):
    """A parameter that is encoded already. ``kind`` is how Postgres names the type of elements."""

    __slots__ = ()
    kind = ""


class Bigints(Array):
    kind = "int8"


class Booleans(Array):
    kind = "bool"


class Byteas(Array):
    kind = "bytea"


class Texts(Array):
    kind = "text"


_ARRAYS: tuple[type[Array], ...] = (Bigints, Booleans, Byteas, Texts)
_OIDS = {array: postgres.types[array.kind].oid for array in _ARRAYS}


def _array(of: type[Array], count: int, elements: Iterable[bytes]) -> bytes:
    if not count:
        return _EMPTY(0, 0, _OIDS[of])
    return _HEADER(1, 1, _OIDS[of], count, 1) + b"".join(elements)


def bigints(values: Sequence[int]) -> Bigints:
    """Raises struct.error for what has no room in 64 bits."""
    return Bigints(_array(Bigints, len(values), map(_BIGINT, repeat(8), values)))


def booleans(values: Sequence[bool | None]) -> Booleans:
    known = {None: _NULL, False: _FALSE, True: _TRUE}
    return Booleans(_array(Booleans, len(values), map(known.__getitem__, values)))


def byteas(values: Sequence[bytes | None]) -> Byteas:
    given: list[bytes] = [value for value in values if value is not None]
    elements: Iterable[bytes]
    if len(given) == len(values):
        lengths = map(_LENGTH, map(len, given))
        elements = chain.from_iterable(zip(lengths, given, strict=True))
    else:
        elements = map(_element, values)
    return Byteas(_array(Byteas, len(values), elements))


def texts(values: Sequence[str | None]) -> Texts:
    """Quick where few of many are different. Raises DataError, as the driver does for NUL."""
    try:
        known = {
            value: _element(None if value is None else value.encode()) for value in set(values)
        }
    except UnicodeEncodeError as error:
        raise DataError(f"text that UTF-8 cannot encode: {error}") from error
    return Texts(_array(Texts, len(values), map(known.__getitem__, values)))


def _element(value: bytes | None) -> bytes:
    return _NULL if value is None else _LENGTH(len(value)) + value


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        return obj


def register(context: AdaptContext) -> None:
    """Have a connection take arrays of this module as parameters."""
    assert context.adapters is not None
    for array in _ARRAYS:
        oid = postgres.types[array.kind].array_oid
        dumper = type(f"{array.__name__}Dumper", (_ArrayDumper,), {"oid": oid})
        context.adapters.register_dumper(array, dumper)
