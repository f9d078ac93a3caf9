"""The files of the console, read once, by the path below which a browser asks for them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

INDEX = "index.html"
MEDIA_TYPES: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "md": "text/plain; charset=utf-8",
    "LICENSE": "text/plain; charset=utf-8",
}
"""End of a file's name -> what it is. What has another end is not served."""


@attrs.frozen
class ConsoleFile:
    """A file as it is sent. ``etag`` changes with its content; quotes are part of it."""

    content: bytes
    media_type: str
    etag: str


@cache
def console_files() -> Mapping[str, ConsoleFile]:
    """Path below ``/console/`` -> file; "" is the page itself.

    Only what is in here can be asked for, whatever a path may look like.
    """
    found = {path: _file(path, content) for path, content in _walk(files(__package__) / "static")}
    return {"": found[INDEX], **found}


def _walk(folder: Traversable, below: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        path = below + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
        elif _ending(path) in MEDIA_TYPES:
            yield path, entry.read_bytes()


def _file(path: str, content: bytes) -> ConsoleFile:
    digest = hashlib.sha256(content).hexdigest()
    return ConsoleFile(content, MEDIA_TYPES[_ending(path)], f'"{digest[:32]}"')


def _ending(path: str) -> str:
    return path.rpartition(".")[2]
