"""The server keeps to its own OpenAPI document, whatever it is sent."""

from __future__ import annotations

import queue
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.http import HttpLimits, serve
from moorage.adapters.gateways.http.openapi import openapi_document
from moorage.adapters.gateways.http.routes import OPERATIONS
from moorage.adapters.gateways.webhooks import WebhookDispatcher, WebhookFile
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.gateways.webhooks.post_office import PostOffice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES_MAX = 5
ANSWER_SECONDS_MAX = 120
KNOWN = "a"
"""The session that most examples are about: of an id that is made up there is none."""


@attrs.frozen
class Server:
    """Where it is, and the id of its webhook."""

    address: str
    webhook_id: str


def run_server(directory: Path, told: queue.Queue[tuple[Server, Any]]) -> None:
    async def main() -> None:
        limits = SupervisorLimits(drain_seconds=0)
        http_limits = HttpLimits(requests_per_second_max=1e6, requests_burst_max=10**6)
        agent = ScriptedAgent()
        async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
            await supervisor.session(KNOWN)
            ending = trio.Event()
            file = WebhookFile(directory / "webhooks.json")
            webhook, _ = file.add("https://hook.test/", created_at_ns=0, session_id="none")
            webhooks = WebhookDispatcher(supervisor, file, poster=PostOffice())
            token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                serving = partial(
                    serve,
                    supervisor,
                    "127.0.0.1:0",
                    limits=http_limits,
                    webhooks=webhooks,
                    shutdown=ending.wait,
                )
                address = await nursery.start(serving)
                end = partial(token.run_sync_soon, ending.set)
                told.put((Server(address, webhook.id), end))

    trio.run(main)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One in a thread of its own."""
    told: queue.Queue[tuple[Server, Any]] = queue.Queue()
    directory = tmp_path_factory.mktemp("webhooks")
    thread = threading.Thread(target=run_server, args=(directory, told))
    thread.start()
    where, end = told.get(timeout=ANSWER_SECONDS_MAX)
    yield where
    end()
    thread.join()


@pytest.fixture(scope="module")
def schema() -> Any:
    schemathesis = pytest.importorskip("schemathesis")
    return schemathesis.openapi.from_dict(openapi_document(OPERATIONS))


@pytest.fixture(scope="module")
def http() -> Iterator[Any]:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        yield session


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_answer_is_one_that_the_document_announces(
    schema: Any, http: Any, server: Server, operation: Any
) -> None:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    numbers = iter(range(1_000_000))

    @settings(
        max_examples=EXAMPLES_MAX,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=schema[operation.path][operation.method].as_strategy())
    def ask(case: Any) -> None:
        if "session_id" in (case.path_parameters or {}) and next(numbers) % 4:
            case.path_parameters["session_id"] = KNOWN
        if "webhook_id" in (case.path_parameters or {}) and next(numbers) % 4:
            case.path_parameters["webhook_id"] = server.webhook_id
        if "wait_seconds" in (case.query or {}):
            case.query["wait_seconds"] = 0
        answer = case.call(base_url=server.address, session=http, timeout=ANSWER_SECONDS_MAX)
        # not every rule for a value (that it is printable, that a seq is not beyond the head) is
        # one that a schema can say
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    ask()
