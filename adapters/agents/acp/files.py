"""The files that an agent may read and write through us: those in its working directory."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import trio
from moorage.runtime.limits import MEBIBYTE

from ..provider.json_rpc import INVALID_PARAMS, RpcRefused

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_BYTES_MAX = 8 * MEBIBYTE
RESOURCE_NOT_FOUND = -32002
"""The protocol's code for a file that is not there."""


class WorkingFiles:
    """Reads and writes text files below ``root``, an absolute path.

    A path counts as what it is once links are followed, so that no link leads out of the root.
    Every refusal is an RpcRefused, for the agent that asked.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)

    def inside(self, path: str) -> str:
        """The real path of ``path``. Raises RpcRefused if it is not absolute, or leads outside."""
        if not os.path.isabs(path) or "\0" in path:
            raise RpcRefused(INVALID_PARAMS, f"path must be absolute, not {path!r}")
        real = os.path.realpath(path)
        if os.path.commonpath([real, self.root]) != self.root:
            raise RpcRefused(
                INVALID_PARAMS, f"{path!r} is outside of the working directory {self.root!r}"
            )
        return real

    async def read(self, path: str, *, line: int | None = None, limit: int | None = None) -> str:
        """The text of a file, or ``limit`` lines of it from ``line`` (1 is the first)."""
        text = await self._do(path, _read)
        if line is None and limit is None:
            return text
        lines = text.splitlines(keepends=True)
        first = max((line or 1) - 1, 0)
        return "".join(lines[first:] if limit is None else lines[first : first + limit])

    async def write(self, path: str, content: str) -> None:
        """Make the file, or what was in it, ``content``; missing directories are made."""
        await self._do(path, lambda real: _write(real, content))

    async def _do(self, path: str, action: Callable[[str], str]) -> str:
        def act() -> str:
            return action(self.inside(path))

        try:
            return await trio.to_thread.run_sync(act)
        except FileNotFoundError:
            raise RpcRefused(RESOURCE_NOT_FOUND, f"there is no file {path!r}") from None
        except (OSError, UnicodeError) as error:
            raise RpcRefused(INVALID_PARAMS, f"{path!r}: {error}") from error


def _read(path: str) -> str:
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):  # a pipe or a device could keep its reader for ever
        raise RpcRefused(INVALID_PARAMS, f"{path!r} is no regular file")
    if found.st_size > FILE_BYTES_MAX:
        raise RpcRefused(
            INVALID_PARAMS, f"{path!r} has {found.st_size} bytes and the limit is {FILE_BYTES_MAX}"
        )
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _write(path: str, content: str) -> str:
    if len(content.encode()) > FILE_BYTES_MAX:
        raise RpcRefused(INVALID_PARAMS, f"content is larger than {FILE_BYTES_MAX} bytes")
    if os.path.exists(path) and not os.path.isfile(path):
        raise RpcRefused(INVALID_PARAMS, f"{path!r} is no regular file")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(content)
    return ""
