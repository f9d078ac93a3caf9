from __future__ import annotations

import pytest
from moorage.adapters.gateways.http.hosts import (
    KnownHosts,
    check_exposure,
    is_loopback,
    parse_bind,
)
from moorage.adapters.gateways.http.problems import problem_of
from moorage.runtime import InvalidArgument

from tests.adapters.gateways.http.asgi_client import AsgiClient


@pytest.mark.parametrize(
    ("bind", "parsed"),
    [
        ("127.0.0.1:8040", ("127.0.0.1", 8040)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65_535)),
    ],
)
def test_a_bind_is_a_host_and_a_port(bind, parsed):
    assert parse_bind(bind) == parsed


@pytest.mark.parametrize(
    "bind", ["", "8040", ":8040", "127.0.0.1", "::1:80", "a:x", "a:65536", "a:-1", "a:٣"]
)
def test_what_is_none_is_refused_with_an_example(bind):
    with pytest.raises(InvalidArgument, match=r"127\.0\.0\.1:8040"):
        parse_bind(bind)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LocalHost"])
def test_this_machine_is_itself(host):
    assert is_loopback(host)
    check_exposure(host, has_auth=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "127.0.0.1.x", ""])
def test_all_else_is_not_and_needs_tokens(host):
    assert not is_loopback(host)
    check_exposure(host, has_auth=True)
    with pytest.raises(InvalidArgument, match="tokens"):
        check_exposure(host, has_auth=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8040", 204),
        ("[::1]:8040", 204),
        ("::1", 421),
        ("me.test", 204),
        ("ME.test:80", 204),
        ("s1.below.test:8040", 204),
        ("a.b.Below.test", 204),
        ("below.test", 421),
        ("notbelow.test", 421),
        ("evil.test", 421),
        ("localhost.evil.test", 421),
        ("", 421),
    ],
)
async def test_only_known_names_are_answered(host, status):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    refused = []

    async def refuse(error, scope, receive, send):
        refused.append(error.code)
        await problem_of(error).response()(scope, receive, send)

    hosts = KnownHosts(app, ["me.test", "*.below.test"], refuse)
    answer = await AsgiClient(hosts, {"host": host})("GET", "/")

    assert answer.status == status
    assert refused == (["host_refused"] if status == 421 else [])


async def test_what_is_no_request_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    await KnownHosts(app, [], None)({"type": "lifespan"}, None, None)

    assert seen == ["lifespan"]
