from __future__ import annotations

import pytest
from moorage.adapters.gateways.http import TokenFile
from moorage.adapters.gateways.http.durable_streams.configs import CONFIG, FORK
from moorage.adapters.gateways.http.durable_streams.states import STREAM_TYPES

STREAM = "/v1/stream/s"
SESSION = "/v1/sessions/s"
TEXT = {"content-type": "text/plain"}
FORGED = {CONFIG: {"content_type": "text/plain", "expires_at_ns": 0}}


@pytest.mark.parametrize("type", sorted(STREAM_TYPES))
async def test_the_events_of_streams_are_recorded_by_streams_alone(serving, type):
    async with serving() as service:
        session = await service.supervisor.session("s")
        events = [{"type": "note", "data": 1}, {"type": type, "data": {}}]
        refused = await service.client("POST", f"{SESSION}/events", {"events": events})
        head_seq = (await session.info()).head_seq

    assert (refused.status, refused.code) == (422, "invalid_request")
    assert refused.json()["facts"]["errors"][0]["field"] == "/events/1/type"
    assert head_seq == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"metadata": FORGED},
        {"metadata_update": FORGED},
        {"metadata_update": {FORK + "f": 0}},
        {"metadata": {"mine": 1, FORK + "f": 0}},
        {"tags": {CONFIG: "raw"}},
    ],
    ids=str,
)
async def test_no_session_is_made_a_stream_by_its_settings(serving, settings):
    async with serving() as service:
        await service.supervisor.session("s", metadata={"kept": 1})
        refused = [await service.client("PATCH", SESSION, settings)]
        if "metadata_update" not in settings:
            refused += [
                await service.client("POST", "/v1/sessions", settings | {"id": id})
                for id in ("s", "new")
            ]
        info = await service.supervisor.handle("s").info()
        found = [found.id async for found in service.supervisor.sessions()]

    assert {(answer.status, answer.code) for answer in refused} == {(422, "invalid_request")}
    assert (info.metadata, info.tags, found) == ({"kept": 1}, {}, ["s"])


@pytest.mark.parametrize(
    "settings",
    [
        {"metadata": {}},
        {"metadata": {"mine": 1}},
        {"metadata_update": {CONFIG: None}},
        {"tags": {"mine": "1"}},
    ],
    ids=str,
)
async def test_a_stream_keeps_what_makes_it_one(serving, settings):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        refused = await service.client("PATCH", SESSION, settings)
        whole = await service.client("GET", STREAM)

    assert (refused.status, refused.code) == (422, "invalid_request")
    assert "moorage.stream" in refused.json()["detail"]
    assert whole.content == b"one"


async def test_everything_else_of_a_stream_is_set_as_of_any_session(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        info = await service.supervisor.handle("s").info()
        settings = {
            "metadata": info.metadata | {"mine": 1},
            "tags": info.tags | {"mine": "1"},
            "summary": "a log",
        }
        whole = await service.client("PATCH", SESSION, settings)
        single = await service.client("PATCH", SESSION, {"metadata_update": {"yours": 2}})
        events = {"events": [{"type": "note", "data": 1}]}
        note = await service.client("POST", f"{SESSION}/events", events)
        after = await service.supervisor.handle("s").info()
        stream = await service.client("GET", STREAM)

    assert [answer.status for answer in (whole, single, note)] == [200, 200, 201]
    assert after.metadata == info.metadata | {"mine": 1, "yours": 2}
    assert after.tags == info.tags | {"mine": "1"}
    assert stream.content == b"one"


async def test_a_stream_is_not_copied_as_a_conversation(serving):
    async with serving() as service:
        await service.client("PUT", STREAM, content=b"one", headers=TEXT)
        answers = [
            await service.client("POST", f"{SESSION}/forks", {"session_id": "copy"}),
            await service.client("POST", f"{SESSION}/rotate", {"summary": "so far"}),
        ]
        found = [info.id async for info in service.supervisor.sessions()]

    assert {(answer.status, answer.code) for answer in answers} == {(409, "stream_conflict")}
    assert found == ["s"]


async def test_a_tenant_who_may_write_reads_and_deletes_nothing_by_forging_a_stream(
    serving, tmp_path
):
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.issue("a", scopes=["read", "write"], prefix="a-").token
    async with serving(auth=tokens) as service:
        supervisor = service.supervisor
        await supervisor.session("b-secret", metadata={CONFIG: {"content_type": "text/plain"}})
        await supervisor.handle("b-secret").append("stream_created", {})
        await supervisor.handle("b-secret").append("stream_appended", {"content": "secret"})
        ask = service.client.with_headers(authorization=f"Bearer {token}")
        await ask("PUT", "/v1/stream/a-x", content=b"mine", headers=TEXT)
        config = {"content_type": "text/plain", "forked_from": "b-secret", "fork_position": 100}
        refused = await ask("PATCH", "/v1/sessions/a-x", {"metadata_update": {CONFIG: config}})
        # what was forged before that was refused
        await supervisor.handle("a-x").configure(metadata_update={CONFIG: config})
        read = await ask("GET", "/v1/stream/a-x")

        await supervisor.session("a-y", metadata=FORGED)
        await supervisor.handle("a-y").execute("hello")
        left = [await ask(method, "/v1/stream/a-y") for method in ("GET", "HEAD", "PUT")]
        runs = (await supervisor.handle("a-y").info()).runs

    assert refused.code == "invalid_request"
    assert (read.status, read.code) == (410, "stream_gone")
    assert [answer.status for answer in left] == [200, 200, 409]
    assert runs["completed"] == 1
