"""Encryption at rest for every store; needs the extra ``encryption``.

::

    ring = KeyRing.from_json(secret)           # {"current": "2026", "keys": {"2026": "..."}}
    store = EncryptedStore(JournalStore("moorage-data"), ring, FileVault("moorage-keys"))
    async with open_supervisor(store, agent) as supervisor: ...
"""

from .failures import KeyUnavailable
from .file_vault import FileVault
from .key_ring import KeyRing
from .session_keys import sessions_by_master_key
from .store import EncryptedStore
from .vault import KeyVault, MemoryVault

__all__ = [
    "EncryptedStore",
    "FileVault",
    "KeyRing",
    "KeyUnavailable",
    "KeyVault",
    "MemoryVault",
    "sessions_by_master_key",
]
