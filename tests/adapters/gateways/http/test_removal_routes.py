from __future__ import annotations

import pytest


async def ids(service, query=""):
    page = (await service.client("GET", f"/v1/sessions{query}")).json()
    return sorted(info["id"] for info in page["sessions"])


async def test_a_deleted_session_is_unknown_and_so_is_deleting_it_again(serving):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a"})
        first = await service.client("DELETE", "/v1/sessions/a")
        again = await service.client("DELETE", "/v1/sessions/a")
        softly = await service.client("DELETE", "/v1/sessions/a?soft=true")
        back = await service.client("POST", "/v1/sessions/a/restore")
        read = await service.client("GET", "/v1/sessions/a")

    assert first.json() == {"changed": True}
    for answer in (again, softly, back, read):
        assert (answer.status, answer.code) == (404, "unknown_session")


async def test_what_is_deleted_softly_is_hidden_can_be_read_and_comes_back(serving):
    async with serving() as service:
        await service.submit("a", "x", prefer="wait=60")
        await service.client("POST", "/v1/sessions", {"id": "b"})
        deleted = await service.client("DELETE", "/v1/sessions/a?soft=true&reason=asked%20for")
        again = await service.client("DELETE", "/v1/sessions/a?soft=true")
        hidden, shown = await ids(service), await ids(service, "?include_deleted=true")
        refused = await service.client("POST", "/v1/sessions", {"id": "a"})
        opened = await service.client("POST", "/v1/sessions", {"id": "a", "include_deleted": True})
        events = (await service.client("GET", "/v1/sessions/a/events")).json()["events"]
        restored = await service.client("POST", "/v1/sessions/a/restore")
        twice = await service.client("POST", "/v1/sessions/a/restore")
        info = (await service.client("GET", "/v1/sessions/a")).json()

    assert (deleted.json(), again.json()) == ({"changed": True}, {"changed": False})
    assert (hidden, shown) == (["b"], ["a", "b"])
    assert (refused.status, refused.code) == (410, "session_deleted")
    assert opened.json()["deleted_at_ns"] is not None
    assert (events[-1]["type"], events[-1]["data"]["reason"]) == ("session_deleted", "asked for")
    assert (restored.json(), twice.json()) == ({"changed": True}, {"changed": False})
    assert (info["state"], info["deleted_at_ns"]) == ("open", None)


@pytest.mark.parametrize("soft", ["", "&soft=true"])
async def test_only_what_was_seen_is_deleted(serving, soft):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a"})
        await service.client(
            "POST", "/v1/sessions/a/events", {"events": [{"type": "note", "data": 1}]}
        )
        refused = await service.client("DELETE", f"/v1/sessions/a?expected_seq=1{soft}")
        left = await service.client("GET", "/v1/sessions/a")
        done = await service.client("DELETE", f"/v1/sessions/a?expected_seq=2{soft}")

    assert (refused.status, refused.code) == (409, "session_changed")
    assert refused.json()["facts"]["head_seq"] == 2
    assert left.json()["deleted_at_ns"] is None
    assert done.json() == {"changed": True}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("reason=why", "invalid_argument"),
        ("soft=perhaps", "invalid_request"),
        ("expected_seq=-1", "invalid_request"),
        ("hard=true", "invalid_request"),
    ],
)
async def test_what_cannot_be_meant_deletes_nothing(serving, query, code):
    async with serving() as service:
        await service.client("POST", "/v1/sessions", {"id": "a"})
        answer = await service.client("DELETE", f"/v1/sessions/a?{query}")
        found = await ids(service)

    assert (answer.status, answer.code) == (422, code)
    assert found == ["a"]
