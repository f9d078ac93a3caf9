"""The console's files over HTTP: headers, and what is no file of its."""

from __future__ import annotations

import pytest
from moorage.adapters.gateways.console import console_files
from moorage.adapters.gateways.http import HttpLimits, TokenFile, create_app


@pytest.mark.parametrize("path", ["/", "/console"])
async def test_the_way_leads_to_the_page(serving, path):
    async with serving() as service:
        answer = await service.client("GET", path)

    assert (answer.status, answer.headers["location"]) == (307, "console/")


async def test_a_page_comes_with_a_strict_policy(serving):
    async with serving() as service:
        answer = await service.client("GET", "/console/")

    assert answer.status == 200
    assert answer.content == console_files()[""].content
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


async def test_modules_are_javascript(serving):
    async with serving() as service:
        ours = await service.client("GET", "/console/app.js")
        library = await service.client("GET", "/console/libraries/preact.mjs")

    for answer in (ours, library):
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/javascript")


async def test_what_a_browser_has_is_not_sent_again(serving):
    async with serving() as service:
        first = await service.client("GET", "/console/app.js")
        tag = first.headers["etag"]
        known = [
            await service.client("GET", "/console/app.js", headers={"if-none-match": text})
            for text in (tag, f'"other", W/{tag}', "*")
        ]
        other = await service.client("GET", "/console/app.js", headers={"if-none-match": '"x"'})

    assert [(answer.status, answer.content) for answer in known] == [(304, b"")] * 3
    assert known[0].headers["etag"] == tag
    assert "content-security-policy" in known[0].headers
    assert (other.status, other.content) == (200, first.content)


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing.js",
        "/console/../__init__.py",
        "/console/..%2f__init__.py",
        "/console/%2e%2e/files.py",
        "/console//etc/passwd",
        "/console/static/app.js",
        "/console/libraries",
        "/console/libraries/",
        "/console/app.js%00",
        "/console/\xff",
        "/consoles",
    ],
)
async def test_there_is_nothing_but_the_files(serving, path):
    async with serving() as service:
        answer = await service.client("GET", path)

    assert (answer.status, answer.code) == (404, "unknown_route")


async def test_head_is_answered_like_get(serving):
    async with serving() as service:
        got = await service.client("GET", "/console/theme.css")
        head = await service.client("HEAD", "/console/theme.css")

    own = {"x-request-id": ""}
    assert (head.status, head.headers | own) == (200, got.headers | own)


@pytest.mark.parametrize("path", ["/", "/console/", "/console/app.js"])
async def test_nothing_can_be_changed(serving, path):
    async with serving() as service:
        answer = await service.client("POST", path)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_files_need_no_token_and_data_does(serving, tmp_path):
    async with serving(auth=TokenFile(tmp_path / "none")) as service:
        page = await service.client("GET", "/console/")
        data = await service.client("GET", "/v1/sessions")

    assert (page.status, data.status) == (200, 401)


async def test_without_it_there_is_no_console(serving):
    async with serving() as service:
        service.client.app = create_app(service.supervisor, console=False)
        statuses = [
            (await service.client("GET", path)).status
            for path in ("/", "/console", "/console/", "/console/app.js")
        ]

    assert statuses == [404] * 4


async def test_whoever_asks_too_often_is_refused(serving):
    limits = HttpLimits(requests_per_second_max=0.001, requests_burst_max=2)
    async with serving(limits=limits) as service:
        statuses = [(await service.client("GET", "/console/")).status for _ in range(3)]

    assert statuses == [200, 200, 429]
