"""A disk of the server that is full: what did not fit left nothing, and fits when there is room.

The server's process that writes for us is given a limit to the size of its files: it sees what it
would on a full disk. Files of the write-ahead log stay below it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from moorage.runtime.errors import StoreFailed
from moorage.stores.conformance.scenario import Author, note, numbers, opened

if TYPE_CHECKING:
    from tests.postgres_server import PostgresSchema

FILE_BYTES_MAX = 17 * 2**20
RECORD_BYTES = 6 * 2**20


async def test_an_append_that_does_not_fit_on_the_disk_left_nothing_and_may_be_tried_again(
    postgres: PostgresSchema,
) -> None:
    async with opened(postgres.store) as store:
        author = await Author.of(store, "a")
        await author.write(note(1))
        large = [
            note(number, data={"number": number, "blob": os.urandom(RECORD_BYTES)})
            for number in (2, 3, 4)
        ]
        writing = store._node.writes._connection.info.backend_pid
        postgres.server.limit_files_of(writing, str(FILE_BYTES_MAX))

        with pytest.raises(StoreFailed) as caught:
            await author.write(*large)
        assert (caught.value.written, caught.value.poisoned) == (False, False)
        assert "File too large; nothing was kept" in str(caught.value)
        await author.write(note(2))  # what is small still fits
        assert await numbers(store, "a") == [(1, 1), (2, 2)]

        postgres.server.limit_files_of(writing, "unlimited")
        await author.write(*large)
        assert await numbers(store, "a") == [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4)]
