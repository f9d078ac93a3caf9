from __future__ import annotations

import json

import pytest


@pytest.fixture
def keys(moorage, tmp_path):
    """A file of keys for one's own use."""
    file = tmp_path / "keys"
    moorage("keys", "new", str(file), "--id", "one")
    return str(file)


def test_keys_are_made_listed_and_rotated_and_never_shown(moorage, keys):
    moorage("run", "-s", "a", "--agent", "echo", "secret words", "--keys", keys)
    rotated = moorage("keys", "rotate", keys, "--id", "two")
    moorage("run", "-s", "b", "--agent", "echo", "x", "--keys", keys)

    listed = moorage.json("keys", "list", keys)
    table = moorage("keys", "list", keys)

    assert "'two' is current" in rotated.stderr
    assert listed["keys"] == [
        {"id": "one", "current": False, "sessions": 1},
        {"id": "two", "current": True, "sessions": 1},
    ]
    assert listed["vault"] == f"{keys}.vault"
    assert table.stdout.split()[:3] == ["KEY", "CURRENT", "SESSIONS"]
    with open(keys) as file:
        secrets = json.load(file)["keys"].values()
    assert not [key for key in secrets if key in table.output or key in rotated.output]


def test_every_command_opens_an_encrypted_store_with_its_keys(moorage, keys, tmp_path):
    given = ("--keys", keys)
    moorage("run", "-s", "a", "--agent", "echo", "secret words", *given)

    assert moorage.json("sessions", *given)[0]["summary"] == "secret words"
    assert "secret words" in moorage("events", "a", *given).stdout
    exported = moorage("export", "a", *given).stdout
    assert moorage("--keys", keys, "export", "a").stdout == exported
    file = tmp_path / "a.jsonl"
    file.write_text(exported)
    moorage("import", str(file), "--as", "b", *given)
    assert "secret words" in moorage("export", "b", "--format", "messages", *given).stdout
    stored = b"".join(one.read_bytes() for one in moorage.data.rglob("*") if one.is_file())
    assert b"secret words" not in stored
    moorage("delete", "a", "--yes", *given)
    assert moorage.json("keys", "list", keys)["keys"][0]["sessions"] == 1


def test_without_keys_what_is_sealed_is_said_to_be(moorage, keys):
    moorage("run", "-s", "a", "--agent", "echo", "secret words", "--keys", keys)

    listed = moorage("sessions")
    commands = ("status", "events", "export")
    refused = [moorage(command, "a", code=1).stderr for command in commands]
    run = moorage("run", "-s", "a", "--agent", "echo", "x", code=1)
    deleted = moorage("delete", "a", "--yes")

    assert "--keys FILE opens it" in listed.stderr
    assert all("'a' is encrypted: give its keys with --keys FILE" in text for text in refused)
    assert "is encrypted" in run.stderr
    assert "left in the vault" in deleted.stderr


def test_wrong_keys_and_a_wrong_vault_are_told(moorage, keys, tmp_path):
    moorage("run", "-s", "a", "--agent", "echo", "x", "--keys", keys)
    other = tmp_path / "other"
    with open(keys) as file:
        vault = json.load(file)["vault"]
    moorage("keys", "new", str(other), "--id", "one", "--vault", vault)
    elsewhere = tmp_path / "elsewhere"
    moorage("keys", "new", str(elsewhere), "--id", "one")
    third = tmp_path / "third"
    moorage("keys", "new", str(third), "--id", "three", "--vault", vault)

    told = [
        moorage("events", "a", "--keys", str(file), code=1).stderr
        for file in (other, elsewhere, third)
    ]

    assert "another key under this id" in told[0]
    assert "is it the right one?" in told[1]
    assert "add the key that this was written with" in told[2]
    missing = moorage("keys", "list", str(third), code=1)
    assert "sessions need keys that are not in" in missing.stderr
    assert "'one'" in missing.stderr


def test_a_key_is_never_replaced_by_another_of_its_id(moorage, keys):
    with open(keys, "rb") as file:
        before = file.read()

    assert "give another id" in moorage("keys", "rotate", keys, "--id", "one", code=1).stderr
    assert "is there already" in moorage("keys", "new", keys, code=1).stderr

    with open(keys, "rb") as file:
        assert before == file.read()


def test_a_copy_is_encrypted_and_opened_again(moorage, moorage_at, keys, tmp_path):
    moorage("run", "-s", "a", "--agent", "echo", "secret words", "--keys", keys)
    other = str(tmp_path / "other")
    moorage("keys", "new", other)
    again, plain = f"sqlite:{tmp_path / 'again'}", f"jsonl:{tmp_path / 'plain'}"

    moorage(
        "copy", "--from", str(moorage.data), "--from-keys", keys, "--to", again, "--to-keys", other
    )
    moorage("copy", "--from", again, "--from-keys", other, "--to", plain)
    sealed = moorage("copy", "--from", again, "--to", f"jsonl:{tmp_path / 'not'}", code=1)

    exports = [
        moorage("export", "a", *where).stdout
        for where in (("--keys", keys), ("--store", again, "--keys", other), ("--store", plain))
    ]
    assert exports[0] == exports[1] == exports[2]
    assert "it is encrypted: open the source with its keys" in sealed.stdout


def test_a_text_in_what_is_encrypted_is_not_looked_for_without_its_keys(moorage, keys):
    moorage("run", "-s", "a", "--agent", "echo", "secret words", "--keys", keys)

    for command in (("sessions", "--text", "words"), ("search", "words")):
        refused = moorage(*command, code=1)
        found = moorage(*command, "--keys", keys)

        assert "'a' is encrypted" in refused.stderr
        assert "--keys FILE" in refused.stderr
        assert refused.stdout == ""
        assert "secret words" in found.stdout
