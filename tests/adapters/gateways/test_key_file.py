from __future__ import annotations

import json
import stat

import pytest
from moorage.adapters.gateways import key_file
from moorage.adapters.gateways.frame import CommandFailed
from moorage.adapters.gateways.key_file import KeyFile, read_key_file, write_key_file
from moorage.stores.encryption import KeyRing

RING = KeyRing.generate("k")


def test_what_is_written_is_read_again_and_for_its_owner_alone(tmp_path, capsys):
    path = tmp_path / "keys"

    write_key_file(KeyFile(path, RING, "sub/vault"), replace=False)
    found = read_key_file(path)

    assert found.ring.to_json() == RING.to_json()
    assert found.vault_path == tmp_path / "sub/vault"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]
    assert capsys.readouterr().err == ""


def test_a_file_is_replaced_only_when_that_is_meant(tmp_path):
    path = tmp_path / "keys"
    write_key_file(KeyFile(path, RING, "v"), replace=False)
    before = path.read_bytes()

    with pytest.raises(CommandFailed, match="is there already"):
        write_key_file(KeyFile(path, KeyRing.generate("other"), "v"), replace=False)

    assert before == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]
    write_key_file(KeyFile(path, RING.rotated("next"), "v"), replace=True)
    assert read_key_file(path).ring.key_ids == ("k", "next")


def test_a_ring_alone_has_its_vault_beside_it_and_others_are_not_to_read_it(tmp_path, capsys):
    path = tmp_path / "keys"
    path.write_text(RING.to_json())
    path.chmod(0o644)

    assert read_key_file(path).vault_path == tmp_path / "keys.vault"
    assert f"chmod 600 {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "not UTF-8"),
        (b"{", "a key ring is"),
        (b"[]", "a key ring is"),
        (b'{"current": "k", "keys": {"k": "c2hvcnQ="}}', "'k'"),
        (json.dumps({**json.loads(RING.to_json()), "vault": 5}).encode(), "vault names"),
        (b" " * (key_file.FILE_BYTES_MAX + 1), "over"),
    ],
    ids=["no text", "no JSON", "no map", "short key", "no place", "too large"],
)
def test_what_is_no_file_of_keys_is_refused_and_shows_none(tmp_path, content, reason):
    path = tmp_path / "keys"
    path.write_bytes(content)

    with pytest.raises(CommandFailed, match=reason) as caught:
        read_key_file(path)

    assert json.loads(RING.to_json())["keys"]["k"] not in str(caught.value)
    assert "c2hvcnQ" not in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(CommandFailed, match="moorage keys new"):
        read_key_file(tmp_path / "nothing")


def test_a_directory_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "missing" / "keys"

    with pytest.raises(CommandFailed, match=f"no directory '{path.parent}'"):
        write_key_file(KeyFile(path, RING, "v"), replace=False)
