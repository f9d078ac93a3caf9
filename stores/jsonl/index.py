"""The index: what all sessions are about, so that opening need not read their files.

A side file, replaced now and then and at the end: one line for each session with its facts up to an
offset, from where the next opening goes on reading. Whatever does not fit the session's file, or is
missing, is made again from that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .layout import replace
from .lines import (
    CLOSING_BYTES_MAX,
    Damage,
    close,
    closing,
    crc_of,
    info_from_json,
    info_to_json,
    note_line,
    parse,
)
from .scanning import Facts, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..journal.disk import Disk, File
    from .layout import Layout

_SEED = "index"
_PLAIN = tuple(field.name for field in attrs.fields(Facts) if field.name != "info")


def store_index(
    disk: Disk, layout: Layout, facts: Iterable[Facts], ends: Mapping[str, int]
) -> None:
    """Replace the index. ``ends`` has, by file, the checksum that its last batch closes with.

    Its name is durable once the directory is synced. Raises OSError.
    """
    lines = [
        close(
            [
                note_line(
                    **{name: getattr(one, name) for name in _PLAIN},
                    closed_with=ends.get(one.stem, -1),
                    info=None if one.info is None else info_to_json(one.info),
                )
            ],
            _SEED,
            one.commit,
        )
        for one in facts
    ]
    replace(disk, layout.index, b"".join(lines))


def load_index(disk: Disk, layout: Layout) -> dict[str, tuple[Facts, int]]:
    """By stem the facts, and the checksum that closes them; what is damaged is left out.

    Raises OSError.
    """
    found: dict[str, tuple[Facts, int]] = {}
    try:
        file = disk.open(layout.index)
    except FileNotFoundError:
        return found
    try:
        for line in read_lines(file, 0, file.size()):
            end = closing(line.text)
            if end is None or crc_of(line.text[: end.start], _SEED) != end.crc:
                continue
            value = parse(line.text)
            info = value["info"]
            facts = Facts(
                **{name: value[name] for name in _PLAIN},
                info=None if info is None else info_from_json(info),
            )
            found[facts.stem] = facts, value["closed_with"]
    except (Damage, KeyError, TypeError):
        return {}
    finally:
        file.close()
    return found


def closed_with(file: File, end: int) -> int:
    """The checksum that stands at the end of the batch that ends there, -1 if none does."""
    start = max(0, end - CLOSING_BYTES_MAX)
    text = file.read(end - start, start)
    found = closing(text[:-1]) if text.endswith(b"\n") else None
    return -1 if found is None else found.crc
