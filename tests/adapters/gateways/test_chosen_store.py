from __future__ import annotations

from pathlib import Path

import pytest
from moorage.adapters.gateways.chosen_store import StoreChoice
from moorage.adapters.gateways.frame import CommandFailed
from moorage.stores import JournalStore, SqliteStore
from moorage.stores.encryption import EncryptedStore, KeyRing

SECRET = "postgres://me:se:cr@et@host/db?schema=s"


def test_a_directory_is_a_journal_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choice = StoreChoice(Path("sqlite:x"))

    assert isinstance(choice.new_or_existing(), JournalStore)
    assert choice.arguments == ["--data", str(tmp_path / "sqlite:x")]
    assert (choice.told, choice.shown) == ("sqlite:x", str(tmp_path / "sqlite:x"))
    with pytest.raises(CommandFailed, match="there is no directory"):
        choice.existing()


def test_files_are_named_from_the_root_with_their_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choice = StoreChoice(None, "sqlite:a.db?durability=buffered", Path("k"), is_remembered=True)

    assert choice.arguments == [
        "--store",
        f"sqlite:{tmp_path / 'a.db'}?durability=buffered",
        "--keys",
        str(tmp_path / "k"),
    ]
    assert StoreChoice(None, "sub/dir").arguments == ["--store", f"journal:{tmp_path / 'sub/dir'}"]


def test_a_password_is_never_part_of_what_is_shown():
    choice = StoreChoice(None, SECRET)

    assert choice.shown == choice.told == "postgres://me:***@host/db?schema=s"
    assert choice.arguments == ["--store", choice.shown]
    assert StoreChoice(None, SECRET, is_remembered=True).arguments == []
    assert "cr@et" not in repr(choice)
    assert "cr@et" not in repr(choice.parsed())


def test_keys_open_the_store_behind_them(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KeyRing.generate("k").to_json())
    keys.chmod(0o600)

    store = StoreChoice(None, f"sqlite:{tmp_path / 'a'}", keys).new_or_existing()

    assert isinstance(store, EncryptedStore)
    assert isinstance(store.inner, SqliteStore)
