"""The file of master keys of an encrypted store: ``--keys FILE``.

::

    {"current": "2026", "keys": {"2026": "<base64 of 32 bytes>"}, "vault": "session-keys"}

What ``KeyRing`` reads, and beside it the directory in which the wrapped keys of sessions are,
from the directory of the file; without ``vault`` it is ``FILE.vault``.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from moorage.runtime import InvalidArgument
from moorage.runtime.sessions import SEALED

from .frame import CommandFailed, note

if TYPE_CHECKING:
    from pathlib import Path

    from moorage.runtime import SessionInfo
    from moorage.runtime.ports import Store
    from moorage.stores.encryption import KeyRing

VARIABLE = "MOORAGE_KEYS"
FILE_BYTES_MAX = 1024 * 1024
_OTHERS = 0o077


class KeyFile:
    """``ring`` is secret; ``vault`` is the directory of the sessions' wrapped keys, as written."""

    def __init__(self, path: Path, ring: KeyRing, vault: str) -> None:
        self.path = path
        self.ring = ring
        self.vault = vault

    @property
    def vault_path(self) -> Path:
        return self.path.absolute().parent / self.vault


def read_key_file(path: Path) -> KeyFile:
    """Raises CommandFailed, which never shows a key; says so if others may read the file."""
    ring_type = key_ring()
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise CommandFailed(
            f"the keys in {str(path)!r} cannot be read: {error.strerror} (--keys FILE or "
            f"{VARIABLE} says where they are; moorage keys new FILE makes some)"
        ) from error
    if len(text) > FILE_BYTES_MAX:
        raise CommandFailed(f"{str(path)!r} is no file of keys: over {FILE_BYTES_MAX} bytes")
    try:
        decoded = text.decode()
        ring = ring_type.from_json(decoded)
        vault = json.loads(decoded).get("vault", f"{path.name}.vault")
    except (UnicodeDecodeError, InvalidArgument) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise CommandFailed(f"{str(path)!r} is no file of keys: {reason}") from None
    if type(vault) is not str or not vault:
        raise CommandFailed(f"{str(path)!r} is no file of keys: vault names a directory")
    if mode & _OTHERS:
        note(f"others may read the keys in {str(path)!r}: chmod 600 {path}")
    return KeyFile(path, ring, vault)


def write_key_file(file: KeyFile, *, replace: bool) -> None:
    """As a whole, for its owner alone, durable on return. Raises CommandFailed if it is there and
    may not be replaced, or its directory is not, and OSError."""
    content = json.dumps({**json.loads(file.ring.to_json()), "vault": file.vault}, indent=1) + "\n"
    folder = file.path.absolute().parent
    if not folder.is_dir():
        raise CommandFailed(f"there is no directory {str(file.path.parent)!r}: make it first")
    descriptor, name = tempfile.mkstemp(prefix=f".{file.path.name}.", dir=folder)  # 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        if replace:
            os.replace(name, file.path)
        else:
            try:
                os.link(name, file.path)
            except FileExistsError:
                raise CommandFailed(
                    f"{str(file.path)!r} is there already, and its keys may be in use: name "
                    "another file, or moorage keys rotate"
                ) from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def encrypted(store: Store, keys: Path | None) -> Store:
    """The store, behind its keys if there is a file of them. Raises CommandFailed."""
    if keys is None:
        return store
    file = read_key_file(keys)
    from moorage.stores.encryption import EncryptedStore, FileVault  # needs the extra

    return EncryptedStore(store, file.ring, FileVault(file.vault_path))


def is_sealed(info: SessionInfo) -> bool:
    """Whether the session is encrypted and was read without its keys."""
    return SEALED in info.metadata


def check_opened(info: SessionInfo) -> None:
    """Raises CommandFailed for a session that was read without its keys."""
    if is_sealed(info):
        raise CommandFailed(
            f"session {info.id!r} is encrypted: give its keys with --keys FILE, or {VARIABLE}"
        )


def key_ring() -> type[KeyRing]:
    """The class. Raises CommandFailed without the extra."""
    try:
        from moorage.stores.encryption import KeyRing  # needs the extra, and takes a while
    except ImportError as error:
        raise CommandFailed(
            f"keys need a package that is not installed ({error.name}): "
            "pip install 'moorage[encryption]'"
        ) from error
    return KeyRing
