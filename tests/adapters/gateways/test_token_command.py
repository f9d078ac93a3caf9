from __future__ import annotations

import json

import pytest

pytest.importorskip("starlette")


def test_a_token_is_made_listed_and_revoked(moorage, tmp_path):
    file = ["--tokens", str(tmp_path / "tokens.json")]
    made = moorage("tokens", "new", "me", "--scope", "read", "--prefix", "acme-", *file)
    token = made.stdout.strip()
    listed = moorage.json("tokens", "list", *file)
    table = moorage("tokens", "list", *file).stdout
    moorage("tokens", "revoke", listed[0]["id"], *file)

    assert token.startswith(f"mrg_{listed[0]['id']}_")
    assert (listed[0]["name"], listed[0]["scopes"], listed[0]["prefix"]) == (
        "me",
        ["read"],
        "acme-",
    )
    assert "sha256" not in listed[0]
    assert token not in table
    assert "never" in table
    assert moorage.json("tokens", "list", *file) == []


def test_json_has_the_token_this_once(moorage, tmp_path):
    path = tmp_path / "tokens.json"
    made = moorage.json("tokens", "new", "me", "--days", "1", "--tokens", str(path))

    assert made["token"] not in path.read_text()
    assert made["expires_at_ns"] - made["created_at_ns"] == 86_400 * 10**9
    assert made["scopes"] == ["read", "write", "approve"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["new", "me", "--scope", "root"], 2, "scopes"),
        (["new", "me", "--prefix", "acme"], 2, "must end with"),
        (["new", "me", "--days", "0"], 2, "100 years"),
        (["new", " "], 2, "must not be empty"),
        (["revoke", "nobody"], 1, "No such file"),
    ],
)
def test_what_cannot_be_is_refused(moorage, tmp_path, arguments, code, why):
    path = tmp_path / "t.json"
    moorage.environment["COLUMNS"] = "400"
    result = moorage("tokens", *arguments, "--tokens", str(path), code=code)

    assert why in " ".join(result.stderr.split())
    assert not path.exists()


def test_a_file_of_tokens_that_others_may_read_is_no_mistake_of_usage(moorage, tmp_path):
    path = tmp_path / "t.json"
    path.write_text("{}")
    path.chmod(0o644)

    assert "chmod 600" in moorage("tokens", "new", "me", "--tokens", str(path), code=1).stderr


def test_revoking_what_is_not_there_is_told(moorage, tmp_path):
    file = ["--tokens", str(tmp_path / "t.json")]
    moorage("tokens", "new", "me", *file)

    assert "see moorage tokens list" in moorage("tokens", "revoke", "x", *file, code=1).stderr


def test_the_file_is_json(moorage, tmp_path):
    path = tmp_path / "t.json"
    moorage("tokens", "new", "me", "--tokens", str(path))

    assert json.loads(path.read_text())["version"] == 1


@pytest.mark.parametrize("where", ["file", "environment"])
def test_the_settings_say_where_the_tokens_are(moorage, tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moorage.toml").write_text("gateway.tokens = 'secret/t.json'")
    (tmp_path / "secret").mkdir()
    before = ["--config", "moorage.toml"]
    if where == "environment":
        before = []
        moorage.environment["MOORAGE_GATEWAY__TOKENS"] = "secret/t.json"
    moorage(*before, "tokens", "new", "me")
    (listed,) = moorage.json(*before, "tokens", "list")
    moorage(*before, "tokens", "new", "other", "--tokens", "other.json")
    moorage(*before, "tokens", "revoke", listed["id"])

    assert moorage.json(*before, "tokens", "list") == []
    assert len(moorage.json("tokens", "list", "--tokens", "other.json")) == 1
    assert sorted(path.name for path in tmp_path.glob("**/*.json")) == ["other.json", "t.json"]


def test_settings_that_are_wrong_are_told(moorage, tmp_path):
    file = tmp_path / "moorage.toml"
    file.write_text("gateway.tokenz = 't.json'")

    assert "tokenz" in moorage("--config", str(file), "tokens", "list", code=2).stderr
