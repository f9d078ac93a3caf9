from __future__ import annotations

import json
import os
import stat

import pytest
from moorage.adapters.gateways.http import TokenFile
from moorage.adapters.gateways.http.problems import Unauthenticated
from moorage.runtime import InvalidArgument


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / "tokens.json")


def bearer(token):
    return {"authorization": f"Bearer {token}"}


async def test_a_token_says_whose_it_is_and_what_it_may_do(file):
    issued = file.issue("me", scopes=["write", "read"], prefix="acme/")

    principal = await file.authenticate(bearer(issued.token))

    assert principal.name == "me"
    assert principal.scopes == {"read", "write"}
    assert principal.prefix == "acme/"
    assert principal.key == f"token {issued.stored.id}"


def test_the_file_is_private_and_has_no_token_in_it(file, tmp_path):
    token = file.issue("me").token
    secret = token.split("_", 2)[2]

    path = tmp_path / "tokens.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused_with_the_remedy(file, tmp_path, mode):
    file.issue("me")
    (tmp_path / "tokens.json").chmod(mode)

    with pytest.raises(InvalidArgument, match="chmod 600"):
        file.load()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"version": 2, "tokens": []}', '{"version": 1, "tokens": [{"id": 1}]}'],
)
def test_what_is_no_file_of_tokens_is_refused(file, tmp_path, content):
    path = tmp_path / "tokens.json"
    path.write_text(content)
    path.chmod(0o600)

    with pytest.raises(InvalidArgument, match="no file of tokens"):
        file.load()


async def test_a_running_server_notices_what_is_issued_and_revoked(file, autojump_clock):
    writer = TokenFile(file._path)
    first = writer.issue("first")
    await file.authenticate(bearer(first.token))
    second = writer.issue("second")
    writer.revoke(first.stored.id)

    autojump_clock.jump(1.1)

    assert (await file.authenticate(bearer(second.token))).name == "second"
    with pytest.raises(Unauthenticated, match="revoked"):
        await file.authenticate(bearer(first.token))


async def test_a_token_expires(file):
    issued = file.issue("me", seconds=1e-9)

    with pytest.raises(Unauthenticated, match="expired"):
        await file.authenticate(bearer(issued.token))


def test_revoking_says_whether_there_was_one(file):
    issued = file.issue("me")

    assert [file.revoke(issued.stored.id), file.revoke(issued.stored.id)] == [True, False]
    assert file.tokens() == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"prefix": "acme"}, "must end with"),
        ({"prefix": "a\nb-"}, "prefix"),
        ({"seconds": 0}, "100 years"),
        ({"seconds": float("nan")}, "100 years"),
        ({"seconds": 1e12}, "100 years"),
    ],
)
def test_what_no_token_can_have_is_refused_and_nothing_is_written(file, tmp_path, options, why):
    with pytest.raises(InvalidArgument, match=why):
        file.issue("me", **options)

    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(file, tmp_path, monkeypatch):
    file.issue("me")
    before = (tmp_path / "tokens.json").read_text()

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        file.issue("you")

    assert before == (tmp_path / "tokens.json").read_text()
    assert len(list(tmp_path.iterdir())) == 1
    assert len(json.loads(before)["tokens"]) == 1
