from __future__ import annotations

import pytest
import trio
from moorage.adapters.agents.model_twin import HttpError, ModelTwin, Stall, Text
from moorage.runtime.errors import InvalidArgument

PATH = "/v1/messages"
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def test_replies_are_played_in_the_order_of_requests(ask):
    async with ModelTwin(["one", [Text("two")], Text("three")]).serving() as twin:
        answers = [await ask(twin, PATH, ASK) for _ in range(3)]

    texts = [answer.json["content"][0]["text"] for answer in answers]
    assert texts == ["one", "two", "three"]
    assert [request.conversation for request in twin.requests] == [1, 2, 3]


async def test_a_function_answers_each_request(ask):
    async def later(request):
        await trio.lowlevel.checkpoint()
        return f"{request.model} {request.prompt} {request.number}"

    for script in (later, lambda request: [f"{request.model} {request.prompt} {request.number}"]):
        async with ModelTwin(script).serving() as twin:
            answer = await ask(twin, PATH, ASK)

        assert answer.json["content"][0]["text"] == "m hi 1"
        assert twin.statistics().replies_left is None


async def test_behind_the_script_there_is_an_error_that_says_so(ask):
    async with ModelTwin(["one"]).serving() as twin:
        await ask(twin, PATH, ASK)
        answer = await ask(twin, PATH, ASK)

    assert answer.status == 500
    assert (
        "has 1 replies, and this is request 2 of the conversation (m: 'hi')"
        in answer.json["error"]["message"]
    )
    assert answer.headers["x-should-retry"] == "false"
    assert [request.outcome for request in twin.requests] == ["answered", "out_of_script"]


async def test_a_function_that_raises_is_told_to_the_client_and_raised_at_the_end(ask):
    def script(request):
        raise LookupError("no reply for this")

    with pytest.raises(LookupError, match="no reply for this"):
        async with ModelTwin(script).serving() as twin:
            answer = await ask(twin, PATH, ASK)

    assert answer.status == 500
    assert "no reply for this" in answer.json["error"]["message"]
    assert twin.statistics().script_failed == 1


async def test_a_function_that_gives_no_reply_is_told_of_too(ask):
    with pytest.raises(InvalidArgument, match="a reply must be"):
        async with ModelTwin(lambda request: None).serving() as twin:
            assert (await ask(twin, PATH, ASK)).status == 500


async def test_what_judges_the_background_may_fail_like_a_script(ask):
    def background(request):
        raise LookupError("cannot tell")

    with pytest.raises(LookupError, match="cannot tell"):
        async with ModelTwin(["one"], background=background).serving() as twin:
            assert (await ask(twin, PATH, ASK)).status == 500


async def test_what_the_block_raises_comes_out_bare():
    with pytest.raises(LookupError, match="of the block"):
        async with ModelTwin().serving():
            raise LookupError("of the block")


async def test_a_block_can_be_cancelled(autojump_clock):
    with trio.move_on_after(5) as scope:
        async with ModelTwin().serving():
            await trio.sleep_forever()

    assert scope.cancelled_caught


async def test_everything_is_recorded_secrets_too(ask):
    async with ModelTwin(["one"]).serving() as twin:
        await ask(twin, f"{PATH}?beta=true", ASK, x_api_key="secret", X_Other="1")
        await ask(twin, "/telemetry", b"no json")

    first, second = twin.all_requests
    assert (first.method, first.path, first.query) == ("POST", PATH, "beta=true")
    assert (first.headers["x-api-key"], first.headers["x-other"]) == ("secret", "1")
    assert (first.body, second.body, second.body_bytes) == (ASK, None, b"no json")
    assert (first.dialect, second.dialect) == ("messages", "other")
    assert [twin.requests, twin.background_requests] == [[first], [second]]


async def test_requests_can_be_waited_for(connect):
    async with ModelTwin(["one", "two"]).serving() as twin, connect(twin) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, PATH, ASK)
            (request,) = await twin.wait_requests(1)
        await twin.wait_answered(request)
        nothing_new = trio.move_on_after(0.02)
        with nothing_new:
            await twin.wait_requests(2)

    assert request.outcome == "answered"
    assert nothing_new.cancelled_caught


async def test_requests_of_the_background_can_be_waited_for(ask):
    async with ModelTwin().serving() as twin, trio.open_nursery() as nursery:
        nursery.start_soon(ask, twin, "/v1/models", None, "GET")
        with trio.fail_after(60):
            (request,) = await twin.wait_all_requests(1)

    assert request.path == "/v1/models"


async def test_statistics_count_what_happened(ask, connect):
    script = ["one", HttpError(500), Stall(), "left"]

    async with ModelTwin(script).serving() as twin:
        for _ in range(2):
            await ask(twin, PATH, ASK)
        await ask(twin, "/v1/models", method="GET")
        async with connect(twin) as client:
            await client.send(PATH, ASK)
            *_, stalled = await twin.wait_requests(3)
        await twin.wait_answered(stalled)
        found = twin.statistics()

    assert (found.requests, found.conversation, found.background) == (4, 3, 1)
    assert (found.answered, found.client_left, found.cut) == (3, 1, 0)
    assert (found.out_of_script, found.script_failed, found.replies_left) == (0, 0, 1)
    assert found.connections == 4


async def test_requests_at_once_are_answered_at_once(connect):
    async with (
        ModelTwin([Stall(), "one"]).serving() as twin,
        connect(twin) as stalled,
        connect(twin) as quick,
    ):
        await stalled.send(PATH, ASK)
        await twin.wait_requests(1)
        await quick.send(PATH, ASK)
        answer = await quick.receive()

    assert answer.json["content"][0]["text"] == "one"


async def test_a_twin_can_be_served_again_on_the_same_port(ask):
    twin = ModelTwin(["one", "two"])
    async with twin.serving():
        port = int(twin.url.rpartition(":")[2])
        await ask(twin, PATH, ASK)
    async with twin.serving(port=port):
        answer = await ask(twin, PATH, ASK)

        assert twin.url == f"http://127.0.0.1:{port}"
    assert answer.json["content"][0]["text"] == "two"


async def test_a_taken_port_is_an_error():
    async with ModelTwin().serving() as twin:
        with pytest.raises(OSError, match="in use"):
            async with ModelTwin().serving(port=int(twin.url.rpartition(":")[2])):
                pass


async def test_there_is_no_url_outside_of_serving():
    twin = ModelTwin()
    async with twin.serving():
        with pytest.raises(InvalidArgument, match="served already"):
            async with twin.serving():
                pass
        assert twin.url.startswith("http://127.0.0.1:")

    with pytest.raises(InvalidArgument, match="not inside of serving"):
        assert twin.url


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ModelTwin("one"), "put a single reply into a list"),
        (lambda: ModelTwin(None), "script must be"),
        (lambda: ModelTwin([3]), "a reply must be"),
        (lambda: ModelTwin(background="all"), "background must be"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused_at_once(make, why):
    with pytest.raises(InvalidArgument, match=why):
        make()


async def test_clients_are_told_where_it_is(tmp_path):
    async with ModelTwin().serving() as twin:
        assert twin.environment("anthropic")["ANTHROPIC_BASE_URL"] == twin.url
        assert twin.configure("codex", tmp_path, model="m")["CODEX_HOME"] == str(tmp_path)
        assert f"{twin.url}/v1" in (tmp_path / "config.toml").read_text()
