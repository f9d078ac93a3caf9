from __future__ import annotations

import pytest
import trio
from moorage.runtime import SupervisorLimits

RUNS = "/v1/sessions/a/runs"


async def test_a_run_is_accepted_and_its_outcome_read_later(serving):
    async with serving() as service:
        run = await service.submit("a", "wait")
        before = (await service.client("GET", f"{RUNS}/{run['run_id']}")).json()
        service.agent.go.set()
        after = (await service.client("GET", f"{RUNS}/{run['run_id']}?wait_seconds=60")).json()

    assert (before["state"], before["outcome"]) in (("running", None), ("queued", None))
    assert after["state"] == after["outcome"]["state"] == "completed"
    assert after["outcome"]["output"] == {"content": "wait"}


async def test_the_answer_says_where_the_run_is(serving):
    async with serving() as service:
        await service.supervisor.session("user/1")
        answer = await service.client("POST", "/v1/sessions/user%2F1/runs", {"input": "wait"})
        found = await service.client("GET", answer.headers["location"])

    assert answer.status == 202
    assert found.json()["run_id"] == answer.json()["run_id"]


@pytest.mark.parametrize("prefer", ["wait=30", "respond-async, wait=30", 'foo; wait="30"'])
async def test_submit_and_wait_is_one_request(serving, prefer):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", RUNS, {"input": [1]}, headers={"prefer": prefer})

    assert answer.status == 200
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["outcome"]["output"] == {"content": [1]}


async def test_a_wait_that_is_too_short_tells_how_far_the_run_is(serving, autojump_clock):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", f"{RUNS}?wait_seconds=5", {"input": "wait"})
        run = await service.client("GET", f"{RUNS}/{answer.json()['run_id']}?wait_seconds=7")

    assert (answer.status, answer.json()["state"]) == (202, "running")
    assert (run.status, run.json()["outcome"]) == (200, None)


async def test_a_failed_run_is_no_failed_request(serving):
    async with serving() as service:
        run = await service.submit("a", "fail", prefer="wait=60")

    assert run["state"] == "failed"
    assert run["outcome"]["error"]["type"] == "ValueError"


async def test_the_same_key_is_the_same_run_and_another_input_a_conflict(serving):
    async with serving() as service:
        first = await service.submit("a", 1, idempotency_key="k")
        quoted = await service.submit("a", 1, idempotency_key='"k"')
        other = await service.client("POST", RUNS, {"input": 2}, headers={"Idempotency-Key": "k"})

    assert first["run_id"] == quoted["run_id"]
    assert (other.status, other.code) == (422, "key_conflict")
    assert other.json()["facts"]["run_id"] == first["run_id"]
    assert service.agent.started == 1


async def test_a_full_queue_is_429_with_when_to_come_back(serving):
    limits = SupervisorLimits(runs_queued_max=1, drain_seconds=0)
    async with serving(supervisor_limits=limits) as service:
        for _ in range(2):
            await service.submit("a", "wait")
        answer = await service.client("POST", RUNS, {"input": 1})

    assert (answer.status, answer.code) == (429, "queue_full")
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["retryable"] is True
    assert answer.json()["facts"] == {
        "session_id": "a",
        "queued": 1,
        "limit": 1,
        "unit": "runs",
    }


async def test_cancel_says_whether_it_took_effect(serving):
    async with serving() as service:
        run = await service.submit("a", "wait")
        path = f"{RUNS}/{run['run_id']}"
        first = await service.client("POST", f"{path}/cancel", {"reason": "enough"})
        ended = await service.client("GET", f"{path}?wait_seconds=60")
        again = await service.client("POST", f"{path}/cancel")
        unknown = await service.client("POST", f"{RUNS}/run_none/cancel")

    assert (first.json(), again.json()) == ({"cancelled": True}, {"cancelled": False})
    assert ended.json()["state"] == "cancelled"
    assert (unknown.status, unknown.code) == (404, "unknown_run")


async def test_a_run_that_asks_is_answered_once(serving):
    async with serving() as service:
        run = await service.submit("a", "ask")
        path = f"{RUNS}/{run['run_id']}"
        await service.supervisor.handle("a").events(
            types={"run_asked"}, run_id=run["run_id"], wait_seconds=60
        )
        first = await service.client("POST", f"{path}/answers/question", {"value": {"x": [1]}})
        again = await service.client("POST", f"{path}/answers/question", {"value": 2})
        ended = await service.client("GET", f"{path}?wait_seconds=60")

    assert (first.json(), again.json()) == ({"answered": True}, {"answered": False})
    assert ended.json()["outcome"]["output"] == {"answered": {"x": [1]}}


async def test_a_message_to_a_run_that_takes_none_becomes_a_run(serving):
    async with serving() as service:
        run = await service.submit("a", "wait")
        answer = await service.client(
            "POST", f"{RUNS}/{run['run_id']}/steer", {"message": "and this"}
        )
        late = await service.client("GET", f"{RUNS}/{answer.json()['run_id']}")

    assert answer.status == 202
    assert answer.json()["steered"] is False
    assert late.json()["state"] == "queued"


async def test_a_message_with_a_key_is_given_once(serving):
    async with serving() as service:
        run = await service.submit("a", "wait")
        client = service.client.with_headers(idempotency_key='"m-1"')
        path = f"{RUNS}/{run['run_id']}/steer"
        first = await client("POST", path, {"message": "and this"})
        again = await client("POST", path, {"message": "and this"})
        other = await client("POST", path, {"message": "and that"})
        status = (await service.client("GET", "/v1/sessions/a/status")).json()

    assert first.json() == again.json()
    assert (other.status, other.code) == (422, "key_conflict")
    assert len(status["queued"]) == 1


@pytest.mark.parametrize(
    ("verb", "state", "said"),
    [("approve", "completed", "I counted"), ("deny", "completed", "not allowed to count: no")],
)
async def test_an_open_approval_is_listed_and_decided_once(
    serving, scripted, autojump_clock, verb, state, said
):
    async with serving(agent=scripted) as service:
        run = await service.submit("a", "approve this")
        session = service.supervisor.handle("a")
        await session.events(types={"tool_approval_requested"}, wait_seconds=60)
        await session.events(types={"run_waiting"}, wait_seconds=60)
        (request,) = (await service.client("GET", "/v1/sessions/a/approvals")).json()["approvals"]
        path = f"/v1/sessions/a/approvals/{request['data']['request_id']}/{verb}"
        first = await service.client("POST", path, {"reason": "no", "by": "me"})
        again = await service.client("POST", path)
        left = (await service.client("GET", "/v1/sessions/a/approvals")).json()
        ended = await service.client("GET", f"{RUNS}/{run['run_id']}?wait_seconds=60")

    assert (first.json(), again.json()) == ({"answered": True}, {"answered": False})
    assert left == {"approvals": []}
    assert ended.json()["state"] == state
    assert said in ended.json()["outcome"]["output"]["content"]


async def test_what_is_no_request_id_is_refused(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", "/v1/sessions/a/approvals/nothing/approve")

    assert (answer.status, answer.code) == (422, "invalid_argument")


async def test_a_client_that_goes_away_leaves_the_run_running(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        client = service.client
        scope = client.scope(
            "POST", f"{RUNS}?wait_seconds=300", {"content-type": "application/json"}
        )
        gone = trio.Event()
        messages = [{"type": "http.request", "body": b'{"input": "wait"}', "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.app, scope, receive, send)
            events = await service.supervisor.handle("a").events(
                types={"message_streamed"}, wait_seconds=60
            )
            gone.set()
        assert service.app.state.streams == 0
        service.agent.go.set()
        outcome = await service.supervisor.handle("a").wait(events[0].run_id)

    assert outcome.unwrap() == {"content": "wait"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "/input"),
        ({"input": 1, "attempts_max": 0}, "/attempts_max"),
        ({"input": 1, "timeout_seconds": "9"}, "/timeout_seconds"),
        ({"input": 1, "on_interrupt": "retry"}, "/on_interrupt"),
        ({"input": 1, "metadata": []}, "/metadata"),
        ({"input": 1, "key/x": "k"}, "/key~1x"),
        ([1], "the body"),
    ],
)
async def test_wrong_bodies_are_told_by_field_value_and_what_is_expected(serving, body, field):
    async with serving() as service:
        await service.supervisor.session("a")
        answer = await service.client("POST", RUNS, body)

    assert (answer.status, answer.code) == (422, "invalid_request")
    (error,) = answer.json()["facts"]["errors"]
    assert error["field"] == field
    assert error["expected"]
    assert service.agent.started == 0


async def test_an_unknown_agent_or_session_is_told(serving):
    async with serving() as service:
        await service.supervisor.session("a")
        agent = await service.client("POST", RUNS, {"input": 1, "agent": "nobody"})
        session = await service.client("POST", "/v1/sessions/b/runs", {"input": 1})

    assert (agent.status, agent.code) == (422, "invalid_argument")
    assert (session.status, session.code) == (404, "unknown_session")


async def test_bytes_and_nan_go_both_ways_as_reversible_json(serving):
    value = {"$bytes": "aGk="}, {"$float": "nan"}, {"$$ref": "x"}
    async with serving() as service:
        run = await service.submit("a", list(value), prefer="wait=60")

    assert run["outcome"]["output"]["content"] == list(value)
