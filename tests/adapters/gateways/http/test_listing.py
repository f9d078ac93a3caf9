from __future__ import annotations

from urllib.parse import urlencode

import pytest
from moorage.adapters.gateways.http.search_routes import SEARCH_OPERATIONS
from moorage.adapters.gateways.http.session_routes import SESSION_OPERATIONS


@pytest.fixture
async def listed(serving):
    async with serving() as service:
        for number in range(7):
            await service.client(
                "POST",
                "/v1/sessions",
                {"id": f"user-{number}", "tags": {"even": str(number % 2 == 0)}},
            )
        await service.client("POST", "/v1/sessions/user-3/close")
        yield service


async def ids(service, query):
    answer = await service.client("GET", f"/v1/sessions?{query}")
    assert answer.status == 200, answer.content
    return [info["id"] for info in answer.json()["sessions"]]


async def test_the_newest_change_comes_first(listed):
    found = await ids(listed, "")

    assert found == ["user-3", "user-6", "user-5", "user-4", "user-2", "user-1", "user-0"]


async def test_prefix_tags_and_states_filter(listed):
    assert await ids(listed, "prefix=user-1") == ["user-1"]
    assert await ids(listed, "tags=even%3DTrue") == ["user-6", "user-4", "user-2", "user-0"]
    assert await ids(listed, "states=closed") == ["user-3"]
    assert await ids(listed, "prefix=nobody") == []


async def test_a_tag_with_any_name_and_value_can_be_said(listed):
    body = {"id": "odd", "tags": {"a%b=c": "x,y=z", "plan": "pro"}}
    await listed.client("POST", "/v1/sessions", body)
    tags = ["a%25b%3Dc=x,y=z", "plan=pro"]

    assert await ids(listed, urlencode({"tags": tags}, doseq=True)) == ["odd"]
    assert await ids(listed, urlencode({"tags": [*tags, "plan2=x"]}, doseq=True)) == []


def test_listing_and_searching_call_what_narrows_sessions_down_the_same():
    parameters = {
        operation.id: {parameter.name: parameter for parameter in operation.parameters}
        for operation in (*SESSION_OPERATIONS, *SEARCH_OPERATIONS)
    }
    listing, searching = parameters["list_sessions"], parameters["search_sessions"]

    assert set(listing) <= set(searching)
    assert (listing["tags"], listing["states"]) == (searching["tags"], searching["states"])


async def test_pages_follow_one_another_without_a_gap_or_a_repeat(listed):
    found, cursor = [], ""
    while True:
        page = (await listed.client("GET", f"/v1/sessions?limit=3{cursor}")).json()
        found += [info["id"] for info in page["sessions"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert found == await ids(listed, "")


@pytest.mark.parametrize("cursor", ["x", "zz.61", "1.6", "1.ff"])
async def test_a_cursor_that_is_none_is_refused(listed, cursor):
    answer = await listed.client("GET", f"/v1/sessions?cursor={cursor}")

    assert (answer.status, answer.code) == (422, "invalid_cursor")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=10001",
        "states=old",
        "tags=x",
        "tag=even%3DTrue",
        "state=open",
        "nonsense=1",
    ],
)
async def test_filters_that_cannot_be_are_refused_by_name(listed, query):
    answer = await listed.client("GET", f"/v1/sessions?{query}")

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert query.partition("=")[0] in answer.json()["facts"]["errors"][0]["field"]
