"""The server keeps to its own OpenAPI document, whatever it is sent and by whom."""

from __future__ import annotations

import itertools
import queue
import re
import threading
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.http import HttpLimits, TokenFile, serve
from moorage.adapters.gateways.http.openapi import openapi_document
from moorage.adapters.gateways.http.routes import OPERATIONS
from moorage.adapters.gateways.webhooks import WebhookDispatcher, WebhookFile
from moorage.runtime import SupervisorLimits, open_supervisor
from moorage.stores import MemoryStore

from tests.adapters.gateways.webhooks.post_office import PostOffice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

EXAMPLES_MAX = 60
EXAMPLES_WITH_TOKENS_MAX = 30
EXAMPLES_REFUSED_MAX = 5
"""Of each operation: without tokens, by who may do all, and by who may only read."""
ANSWER_SECONDS_MAX = 120
REFUSED = frozenset({400, 405, 422})
NUMBERS = itertools.count()

NAMES = r"must not (be empty or blank|contain the control character)"
HEAD = r"^(seq|before|expected_seq) must be (a whole number )?from \d+ to \d+"
REVERSIBLE = (
    r"a key of the data that begins with \$ is written with \$\$|is an integer outside 64 bits"
)
REQUEST_ID = r"is no request id"
CURSOR = r"^the cursor cannot be used"
ONE_OF = r"^give session_id or prefix, not both"
URL = r"^url must be"

UNTOLD_RULES: Mapping[str, tuple[str, ...]] = {
    "submit_run": (NAMES, REVERSIBLE, r"^no agent named", r"with another input: use a new key"),
    "steer_run": (REVERSIBLE,),
    "approve": (NAMES, REQUEST_ID),
    "deny": (NAMES, REQUEST_ID),
    "get_events": (NAMES, r"^after=\d+ is beyond the head"),
    "append_events": (NAMES, REVERSIBLE, HEAD, r"is written by the session itself"),
    "move_cursor": (HEAD,),
    "open_session": (NAMES, REVERSIBLE),
    "list_sessions": (NAMES, CURSOR),
    "configure_session": (NAMES, REVERSIBLE),
    "trim_session": (HEAD,),
    "delete_session": (NAMES, r"^a reason is recorded with soft=True"),
    "add_messages": (REVERSIBLE, r"^message \d+ must be a map with content and a role"),
    "put_label": (NAMES, HEAD),
    "make_checkpoint": (NAMES, REVERSIBLE),
    "make_branch": (NAMES, HEAD),
    "fork_session": (NAMES, HEAD),
    "rotate_session": (NAMES,),
    "search_sessions": (NAMES, CURSOR),
    "search_runs": (NAMES, CURSOR, ONE_OF, r"^over several sessions order='submitted' gives"),
    "search_events": (NAMES, CURSOR, ONE_OF),
    "get_usage": (NAMES, r"^by must be one of"),
    "create_webhook": (NAMES, URL),
    "change_webhook": (NAMES, URL),
    "create_stream": (r"^Stream-(TTL|Expires-At|Fork\w*(-\w+)*) is",),
    "append_to_stream": (
        r"^Producer-\w+ (is|has)",
        r"^POST does nothing",
        r"^there is nothing to append",
    ),
    "read_stream": (r"^offset is", r"^live=[\w-]+ needs an offset"),
    "delete_stream": (r"^DELETE does nothing here",),
}
"""Operation -> what it says where it refuses what the document takes, by a rule that a schema
cannot say, or leaves to the runtime: how names are written, that a seq is not beyond the head, two
fields that exclude one another, JSON that is reversible, headers of a protocol of others, and a
session that is no raw stream."""

EMPTY_WITH_TYPE = frozenset({"create_stream"})
"""The protocol has its answer name the type of the stream, and say nothing."""


@attrs.frozen
class Server:
    """Where it is, the id of its webhook, and tokens by what they may do ("" without tokens)."""

    address: str
    webhook_id: str
    all: str
    read: str


def run_server(directory: Path, with_tokens: bool, told: queue.Queue[tuple[Server, Any]]) -> None:
    async def main() -> None:
        limits = SupervisorLimits(drain_seconds=0)
        http_limits = HttpLimits(requests_per_second_max=1e6, requests_burst_max=10**6)
        agent = ScriptedAgent()
        tokens = TokenFile(directory / "tokens.json") if with_tokens else None
        may_all = tokens.issue("all", scopes=["admin"]).token if tokens else ""
        may_read = tokens.issue("read", scopes=["read"]).token if tokens else ""
        async with open_supervisor(MemoryStore(), agent, limits=limits) as supervisor:
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
                    auth=tokens,
                    limits=http_limits,
                    webhooks=webhooks,
                    shutdown=ending.wait,
                )
                address = await nursery.start(serving)
                end = partial(token.run_sync_soon, ending.set)
                told.put((Server(address, webhook.id, may_all, may_read), end))

    trio.run(main)


def served(directory: Path, *, with_tokens: bool) -> Iterator[Server]:
    """One in a thread of its own."""
    told: queue.Queue[tuple[Server, Any]] = queue.Queue()
    thread = threading.Thread(target=run_server, args=(directory, with_tokens, told))
    thread.start()
    where, end = told.get(timeout=ANSWER_SECONDS_MAX)
    yield where
    end()
    thread.join()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from served(tmp_path_factory.mktemp("open"), with_tokens=False)


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from served(tmp_path_factory.mktemp("guarded"), with_tokens=True)


@pytest.fixture(scope="module")
def schema() -> Any:
    schemathesis = pytest.importorskip("schemathesis")
    return schemathesis.openapi.from_dict(openapi_document(OPERATIONS))


@pytest.fixture(scope="module")
def http() -> Iterator[Any]:
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        yield session


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def known_things(http: Any, server: Server, operation: Any) -> dict[str, str]:
    """A path parameter -> what there is by that name, in a new session that only this operation is
    tried with: of what is made up there is nothing."""
    session_id = f"{operation.id} {next(NUMBERS)}"
    base = f"{server.address}/v1/sessions/{quote(session_id)}"
    ask = partial(http.request, headers=bearer(server.all), timeout=ANSWER_SECONDS_MAX)
    if "stream" in operation.tag:
        made = ask("PUT", f"{server.address}/v1/stream/{quote(session_id)}")
        assert made.status_code == 201, made.text
        return {"session_id": session_id}
    opened = ask("POST", f"{server.address}/v1/sessions", json={"id": session_id})
    assert opened.status_code == 200, opened.text
    run = ask("POST", f"{base}/runs?wait_seconds=60", json={"input": "hello"}).json()
    assert run["state"] == "completed", run
    ask("PUT", f"{base}/labels/here", json={}).raise_for_status()
    ask("PUT", f"{base}/cursors/mine", json={"seq": 1}).raise_for_status()
    checkpoint = ask("POST", f"{base}/checkpoints", json={}).json()
    return {
        "session_id": session_id,
        "run_id": run["run_id"],
        "request_id": f"{run['run_id']}:call",
        "label": "here",
        "name": "mine",
        "checkpoint_id": checkpoint["checkpoint_id"],
        "webhook_id": server.webhook_id,
    }


def examples(schema: Any, operation: Any, known: Mapping[str, str], count: int) -> Any:
    """Decorates a function of a case, which is called with as many; three of four are about what
    there is, and none waits."""
    numbers = itertools.count()

    def decorate(function: Any) -> Any:
        @settings(
            max_examples=count,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=schema[operation.path][operation.method].as_strategy())
        def run(case: Any) -> None:
            if next(numbers) % 4:
                for name in case.path_parameters or {}:
                    case.path_parameters[name] = known[name]
            if "wait_seconds" in (case.query or {}):
                case.query["wait_seconds"] = 0
            function(case)

        return run

    return decorate


def conforms(schema: Any, http: Any, server: Server, operation: Any, count: int) -> None:
    from schemathesis.specs.openapi.checks import (
        positive_data_acceptance,
        response_schema_conformance,
    )

    @examples(schema, operation, known_things(http, server, operation), count)
    def ask(case: Any) -> None:
        answer = case.call(
            base_url=server.address,
            session=http,
            headers=bearer(server.all),
            timeout=ANSWER_SECONDS_MAX,
        )
        excluded = [positive_data_acceptance] if is_untold(operation, answer) else []
        if operation.id in EMPTY_WITH_TYPE and not answer.content:
            excluded.append(response_schema_conformance)
        case.validate_response(answer, excluded_checks=excluded)

    ask()


def is_untold(operation: Any, answer: Any) -> bool:
    """Whether it refuses by a rule that is listed."""
    if answer.status_code not in REFUSED:
        return False
    detail = answer.json()["detail"]
    return any(re.search(rule, detail) for rule in UNTOLD_RULES.get(operation.id, ()))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_answer_is_one_that_the_document_announces(
    schema: Any, http: Any, open_server: Server, operation: Any
) -> None:
    conforms(schema, http, open_server, operation, EXAMPLES_MAX)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_who_may_do_all_gets_the_answers_that_the_document_announces(
    schema: Any, http: Any, guarded_server: Server, operation: Any
) -> None:
    conforms(schema, http, guarded_server, operation, EXAMPLES_WITH_TOKENS_MAX)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_who_may_read_only_is_refused_whatever_changes_something(
    schema: Any, http: Any, guarded_server: Server, operation: Any
) -> None:
    allowed = operation.scope in (None, "read")
    known = known_things(http, guarded_server, operation)

    @examples(schema, operation, known, EXAMPLES_REFUSED_MAX)
    def ask(case: Any) -> None:
        answer = case.call(
            base_url=guarded_server.address,
            session=http,
            headers=bearer(guarded_server.read),
            timeout=ANSWER_SECONDS_MAX,
        )
        assert allowed == (answer.status_code != 403), answer.text
        if not allowed:
            assert answer.json()["code"] == "scope_missing"
            case.validate_response(answer)

    ask()


def test_the_tables_name_operations() -> None:
    assert UNTOLD_RULES.keys() | EMPTY_WITH_TYPE <= {operation.id for operation in OPERATIONS}
