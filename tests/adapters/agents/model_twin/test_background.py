from __future__ import annotations

import pytest
from moorage.adapters.agents.model_twin import ModelTwin, Text, known_background

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
USER = [{"role": "user", "content": "Please fix the bug"}]
BACKGROUND = [
    ("/v1/messages", {"max_tokens": 1, "messages": USER}),
    ("/v1/chat/completions", {"max_completion_tokens": 1, "messages": USER}),
    ("/v1/responses", {"max_output_tokens": 1, "input": "hi"}),
    (
        "/v1/messages",
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}, "messages": USER},
    ),
    ("/v1/responses", {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
    ("/v1/chat/completions", {"response_format": {"json_schema": {"schema": SCHEMA}}}),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "Generate a title for this conversation:"}]},
    ),
]
CONVERSATION = [
    {"max_tokens": 2, "messages": USER},
    {"messages": USER, "output_config": {"effort": "medium"}},
    {
        "messages": USER,
        "tools": [{"name": "ls"}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
    {
        "messages": USER,
        "output_config": {"format": {"schema": {"properties": {"title": {}, "text": {}}}}},
    },
    {"messages": USER, "output_config": "odd", "text": 3},
    {
        "messages": [{"role": "user", "content": "Generate a title for this conversation:"}],
        "tools": [{"name": "ls"}],
    },
]


@pytest.mark.parametrize(("path", "body"), BACKGROUND)
async def test_what_command_lines_ask_on_the_side_is_no_turn(ask, path, body):
    async with ModelTwin(["scripted"]).serving() as twin:
        side = await ask(twin, path, {"model": "m", **body})
        turn = await ask(twin, path, {"model": "m"})

    assert side.status == 200
    assert b"scripted" not in side.body
    assert b"scripted" in turn.body
    assert [request.number for request in twin.background_requests] == [1]
    assert [request.conversation for request in twin.all_requests] == [None, 1]


@pytest.mark.parametrize("body", CONVERSATION)
async def test_what_only_looks_like_it_is_a_turn(ask, body):
    async with ModelTwin(["scripted"]).serving() as twin:
        answer = await ask(twin, "/v1/messages", body)

    assert b"scripted" in answer.body


async def test_a_test_can_know_more_or_nothing_of_the_background(ask):
    def small(request):
        return Text("short") if request.model == "small" else known_background(request)

    async with ModelTwin(["scripted"], background=small).serving() as twin:
        assert b"short" in (await ask(twin, "/v1/messages", {"model": "small"})).body
        assert b"ok" in (await ask(twin, "/v1/messages", {"max_tokens": 1})).body
    async with ModelTwin(["scripted"], background=None).serving() as twin:
        assert b"scripted" in (await ask(twin, "/v1/messages", {"max_tokens": 1})).body
