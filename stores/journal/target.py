"""The active segment as the writer thread sees it: where the next frame goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import format as fmt

if TYPE_CHECKING:
    from .disk import File


class Target:
    """The active segment: where the next frame goes. Used by one thread at a time."""

    def __init__(self, file: File, *, log_id: bytes, number: int, end: int, synced: bool) -> None:
        self.file = file
        self.log_id = log_id
        self.number = number
        self.end = end
        self.synced = synced
        self.attested = end

    def write(self, blocks: list[bytes]) -> None:
        """Append one frame at ``end``. Raises OSError; SyncFailed poisons."""
        body = b"".join(blocks)
        seed = fmt.frame_seed(self.log_id, self.number, self.end)
        header = fmt.pack_frame_header(seed, body, self.attested)
        self.file.write((header, body), self.end, sync=self.synced)
        self.end += len(header) + len(body)
        if self.synced:
            self.attested = self.end

    def cut(self) -> None:
        """Take away what a failed write left behind the end. Raises OSError."""
        self.file.truncate(self.end)
        self.file.sync()
        self.attested = self.end

    def switch(self, file: File, number: int, end: int) -> None:
        """Go on in another segment, which is durable up to ``end``."""
        self.file, self.number = file, number
        self.end = self.attested = end

    def sync(self) -> None:
        self.file.sync()
        self.attested = self.end
