"""Commands on the sessions of a server."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

import pytest
from moorage.adapters.gateways import remote
from moorage.adapters.gateways.remote import Server

from tests.adapters.gateways.served import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("starlette")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served")) as server:
        yield server


def test_the_token_comes_out_of_a_file_or_the_environment(moorage, server, tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text(server.token + "\n")
    attach = ("attach", "nobody", "--url", server.url)

    by_file = moorage(*attach, "--token-file", str(file), code=1)
    monkeypatch.setenv("MOORAGE_TOKEN", server.token)
    by_environment = moorage(*attach, code=1)

    assert "no session 'nobody'" in by_file.stderr
    assert by_file.stderr == by_environment.stderr


@pytest.mark.parametrize("content", ["two words", "", None])
def test_a_file_that_has_no_token_is_refused(moorage, server, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)

    refused = moorage("attach", "s", "--url", server.url, "--token-file", str(file), code=2)

    assert "--token-file" in refused.stderr


def test_without_its_token_it_says_what_is_missing(moorage, server):
    result = moorage("attach", "s", "--url", server.url, code=1)

    assert "Authorization: Bearer TOKEN" in result.stderr


def test_without_a_server_it_says_what_names_one(moorage):
    assert "MOORAGE_URL" in moorage("attach", "s", code=2).stderr


@pytest.mark.parametrize("url", ["nonsense", "ftp://foo", "http://", "http://h:0", "http://h:x"])
def test_what_is_no_address_is_refused_as_usage(moorage, url):
    assert "http://HOST:PORT" in moorage("attach", "s", "--url", url, code=2).stderr


@pytest.mark.parametrize(
    "command", [("run", "hello"), ("events", "s", "--follow"), ("status", "s")]
)
def test_a_server_that_was_never_there_is_told_soon(moorage, monkeypatch, command):
    monkeypatch.setattr(remote, "PATIENCE_SECONDS", 0.01)
    result = moorage(*command, "--url", "http://127.0.0.1:1", code=1)

    assert "http://127.0.0.1:1" in result.stderr


def test_waiting_is_told(capsys):
    Server("http://me:secret@h", None)._tell_of_waiting(60.0)

    assert capsys.readouterr().err == "moorage: waiting for http://me:***@h for up to 60 s\n"


def test_without_the_extra_it_says_what_to_install(moorage, server, monkeypatch):
    real = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 1 and name == "http_client":
            raise ModuleNotFoundError("no", name="httpx")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    result = moorage("attach", "s", "--url", server.url, code=1)

    assert "pip install 'moorage[client]'" in result.stderr


def test_a_server_is_shown_without_what_is_secret():
    server = Server("https://me:se:cr@et@host/moorage", "token")

    assert server.shown == server.told == "https://me:***@host/moorage"
    assert server.arguments == ["--url", "https://me:***@host/moorage"]
    assert "token'" not in repr(server)
