from __future__ import annotations

from pathlib import Path

import pytest
from moorage.stores.journal.durable import SIZE, DurableEnd, pack_durable, read_durable
from moorage.stores.simulated_disk import SimulatedDisk, SimulatedFile

PATH = Path("/journal/DURABLE")
END = DurableEnd(generation=3, number=7, offset=2**40 + 1, synced=True)


@pytest.fixture
def file() -> SimulatedFile:
    disk = SimulatedDisk()
    disk.make_directory(PATH.parent)
    return disk.create(PATH)


@pytest.mark.parametrize("synced", [True, False])
def test_what_was_written_is_read(file: SimulatedFile, synced: bool) -> None:
    end = END._replace(synced=synced)

    file.write([pack_durable(end)], 0)

    assert read_durable(file) == end
    assert file.size() == SIZE


@pytest.mark.parametrize("size", [0, 1, SIZE - 1])
def test_a_file_that_was_cut_off_says_nothing(file: SimulatedFile, size: int) -> None:
    file.write([pack_durable(END)[:size]], 0)

    assert read_durable(file) is None


@pytest.mark.parametrize("position", range(SIZE))
def test_a_byte_that_changed_anywhere_is_noticed(file: SimulatedFile, position: int) -> None:
    data = bytearray(pack_durable(END))
    data[position] ^= 1

    file.write([data], 0)

    assert read_durable(file) is None


def test_a_torn_rewrite_says_nothing_rather_than_a_mixture(file: SimulatedFile) -> None:
    file.write([pack_durable(END)], 0)
    newer = pack_durable(END._replace(number=9, offset=500))

    file.write([newer[:30]], 0)

    assert read_durable(file) is None


def test_a_file_of_zeros_says_nothing(file: SimulatedFile) -> None:
    file.write([bytes(SIZE)], 0)

    assert read_durable(file) is None
