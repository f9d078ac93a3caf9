from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from moorage.adapters.agents.acp.files import FILE_BYTES_MAX, RESOURCE_NOT_FOUND, WorkingFiles
from moorage.adapters.agents.provider.json_rpc import RpcRefused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "root"


async def test_a_file_is_read_whole_or_by_lines(root: Path) -> None:
    files = WorkingFiles(str(root))
    (root / "a.txt").write_text("one\ntwo\r\nthree\n", newline="")
    path = str(root / "a.txt")

    assert await files.read(path) == "one\ntwo\r\nthree\n"
    assert await files.read(path, line=2) == "two\r\nthree\n"
    assert await files.read(path, line=2, limit=1) == "two\r\n"
    assert await files.read(path, limit=1) == "one\n"
    assert await files.read(path, line=9) == ""


async def test_a_file_is_written_with_its_directories(root: Path) -> None:
    await WorkingFiles(str(root)).write(str(root / "new" / "b.txt"), "ü\n")

    assert (root / "new" / "b.txt").read_bytes() == "ü\n".encode()


@pytest.mark.parametrize("path", ["../secret.txt", "..", "a/../../secret.txt", "link/secret.txt"])
async def test_no_path_leads_out_of_the_directory(root: Path, path: str) -> None:
    (root / "link").symlink_to(root.parent)
    files = WorkingFiles(str(root))

    for escape in (f"{root}/{path}", str(root.parent / "secret.txt"), f"{root}x/secret.txt"):
        with pytest.raises(RpcRefused, match="outside of the working directory"):
            await files.read(escape)
        with pytest.raises(RpcRefused, match="outside of the working directory"):
            await files.write(escape, "taken")

    assert (root.parent / "secret.txt").read_text() == "secret"


async def test_a_path_must_be_absolute(root: Path) -> None:
    with pytest.raises(RpcRefused, match="must be absolute"):
        await WorkingFiles(str(root)).read("a.txt")


async def test_what_is_not_there_has_its_own_code(root: Path) -> None:
    with pytest.raises(RpcRefused) as refused:
        await WorkingFiles(str(root)).read(str(root / "none"))

    assert refused.value.code == RESOURCE_NOT_FOUND


async def test_what_is_no_text_file_of_fair_size_is_refused(root: Path) -> None:
    files = WorkingFiles(str(root))
    os.mkfifo(root / "pipe")
    (root / "large").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    (root / "binary").write_bytes(b"\xff\xfe\x00")

    for name, why in (("pipe", "no regular"), ("large", "the limit is"), ("binary", "decode")):
        with pytest.raises(RpcRefused, match=why):
            await files.read(str(root / name))
    for path, content in ((root / "pipe", "x"), (root / "new", "x" * (FILE_BYTES_MAX + 1))):
        with pytest.raises(RpcRefused):
            await files.write(str(path), content)

    assert not (root / "new").exists()
