"""The console's pure modules, asked in the browser that runs them."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.rules.source_tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.browser
STATIC = ROOT / "adapters/gateways/console/static"


class _Files(http.server.SimpleHTTPRequestHandler):
    """The files alone, without a gateway."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(STATIC))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(page: Any, address: str) -> Callable[..., Any]:
    """``ask(module, expression, argument)``: ``m`` is the module and ``a`` the argument."""
    page.goto(f"{address}/icon.svg")

    def asked(module: str, expression: str, argument: Any = None) -> Any:
        code = f"async (a) => {{ const m = await import('/{module}'); return {expression}; }}"
        return page.evaluate(code, argument)

    return asked


def event(seq: int, type: str, data: Any = None, run_id: str | None = "r") -> dict[str, Any]:
    return {"seq": seq, "time_ns": seq * 10**9, "type": type, "run_id": run_id, "data": data or {}}


def test_server_sent_events_may_be_cut_anywhere(ask: Callable[..., Any]) -> None:
    text = ': open\n\nid: 1\ndata: {"a":1}\n\nid: 2\ndata: x\ndata: y\n\n: beat\nid: 7\n\n'
    text += "retry: 2000\nid: 3\nevent: end\ndata: {}\n\nid: 9\ndata: not yet"
    expression = """a.flatMap((size) => {
        const parser = new m.SseParser();
        const pieces = [];
        for (let at = 0; at < text.length; at += size) pieces.push(text.slice(at, at + size));
        return [pieces.flatMap((piece) => parser.feed(piece))];
    })""".replace("text", "a.text").replace("a.flatMap", "a.sizes.flatMap")

    found = ask("sse.js", expression, {"sizes": [1, 2, 3, 7, 1000], "text": text})

    assert found[0] == [
        {"id": "1", "event": "message", "data": '{"a":1}', "retry": None},
        {"id": "2", "event": "message", "data": "x\ny", "retry": None},
        {"id": "7", "event": "message", "data": None, "retry": None},
        {"id": "3", "event": "end", "data": "{}", "retry": 2000},
    ]
    assert all(one == found[0] for one in found)


def test_whole_numbers_keep_their_digits(ask: Callable[..., Any]) -> None:
    text = '{"a":1795798438244218172,"b":[9007199254740993,1.5,-3],"c":"9007199254740993"}'

    assert ask("api.js", "(await import('/format.js')).json(m.parse(a), 0)", text) == text


def test_coming_back_takes_longer_each_time_up_to_a_limit(ask: Callable[..., Any]) -> None:
    waits = ask("feed.js", "[0, 1, 3, 9, 1e6].map((n) => m.backoff(n))")

    for wait, most in zip(waits, (400, 800, 3_200, 10_000, 10_000), strict=True):
        assert most / 2 <= wait <= most


def test_a_conversation_is_put_together_from_events(ask: Callable[..., Any]) -> None:
    call = {"tool_call_id": "c", "tool_name": "look", "tool_input": {"at": "it"}}
    events = [
        event(1, "session_opened", run_id=None),
        event(2, "run_submitted", {"input": {"prompt": "hello"}}),
        event(3, "run_started", {"attempt": 1}),
        event(4, "message_sent", {"role": "user", "content": "hello"}),
        event(5, "message_streamed", {"delta": "", "thinking": "well"}),
        event(6, "message_streamed", {"delta": "Hel"}),
        event(7, "message_streamed", {"delta": "lo"}),
        event(8, "message_received", {"content": "Hello!", "tool_calls": [call]}),
        event(9, "tool_call_started", call),
        event(10, "message_sent", {"role": "user", "content": "hurry", "steer_id": "s"}),
        event(11, "tool_call_failed", {**call, "error": {"code": "x", "message": "no"}}),
        event(12, "run_failed", {"error": {"code": "y", "message": "bad"}}),
    ]

    (group,) = ask("conversation.js", "m.conversation(a)", events)

    assert (group["state"], group["cut"]) == ("failed", False)
    user, assistant, tool, steered, note = group["items"]
    assert (user["kind"], user["text"]) == ("user", "hello")
    assert (assistant["text"], assistant["thinking"]) == ("Hello!", "well")
    assert assistant["streaming"] is False
    assert (tool["call"]["state"], tool["call"]["error"]["message"]) == ("failed", "no")
    assert (steered["text"], steered["steered"]) == ("hurry", True)
    assert note["text"] == "Run failed: bad (y)"


def test_an_output_is_told_once(ask: Callable[..., Any]) -> None:
    started = [event(1, "run_submitted", {"input": "q"}), event(2, "run_started", {"attempt": 1})]
    ended = event(9, "run_completed", {"output": {"content": "done"}})
    said = event(3, "message_received", {"content": "done"})

    texts = "a.map((e) => m.conversation(e)[0].items.map((item) => item.text))"
    silent, told = ask("conversation.js", texts, [[*started, ended], [*started, said, ended]])

    assert silent == told == ["q", "done"]


def test_a_conversation_that_begins_in_the_middle_says_so(ask: Callable[..., Any]) -> None:
    events = [event(7, "message_streamed", {"delta": "ello"})]

    (group,) = ask("conversation.js", "m.conversation(a)", events)

    assert (group["cut"], group["items"][0]["text"]) == (True, "ello")


def test_runs_have_their_times_and_questions_their_end(ask: Callable[..., Any]) -> None:
    events = [
        event(1, "run_submitted", {"input": "one"}),
        event(3, "run_started", {"attempt": 1}),
        event(4, "run_asked", {"name": "why", "data": 1}),
        event(7, "run_waiting", {"name": "approval:c", "data": {"request_id": "r:c"}}),
    ]
    answered = event(8, "run_resumed", {"name": "approval:c", "value": True})
    expression = """a.map((events) => {
        const questions = new m.Questions();
        for (const event of events) questions.add(event);
        const run = m.runsOf(events)[0];
        const open = questions.list().map((q) => [q.name, q.approval]);
        return [run.state, run.spans.times(10_000), open];
    })"""
    ended = event(9, "run_cancelled", {"started_at_ns": 3 * 10**9})

    waiting, resumed, over = ask(
        "runs.js", expression, [events, [*events, answered], [*events, answered, ended]]
    )

    assert waiting[0] == "waiting"
    assert waiting[1] == {"queued": 2_000, "waited": 3_000, "ran": 4_000}
    assert waiting[2] == [["why", False], ["approval:c", True]]
    assert resumed[2] == [["why", False]]
    assert resumed[1] == {"queued": 4_000, "waited": 1_000, "ran": 4_000}
    assert over == ["cancelled", {"queued": 3_000, "waited": 1_000, "ran": 4_000}, []]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ({1: "run_submitted", 4: "run_cancelled"}, [3_000, None, None]),
        (
            {1: "run_submitted", 2: "run_started", 5: "run_waiting", 9: "run_cancelled"},
            [1_000, 4_000, 3_000],
        ),
        (
            {
                1: "run_submitted",
                2: "run_started",
                60: "run_requeued",
                61: "run_started",
                63: "run_completed",
            },
            [2_000, None, 2_000],
        ),
        ({3: "run_started", 5: "run_completed"}, [None, None, 2_000]),
        ({5: "run_completed"}, [None, None, None]),
    ],
    ids=["never started", "cancelled while it waits", "left by a kill", "cut", "only its end"],
)
def test_the_time_of_a_run_went_somewhere(
    ask: Callable[..., Any], types: dict[int, str], expected: list[int | None]
) -> None:
    events = [event(seq, type) for seq, type in types.items()]
    expression = """(() => {
        const spans = new m.Spans();
        for (const event of a) spans.add(event);
        return spans.times(1e6);
    })()"""

    assert list(ask("spans.js", expression, events).values()) == expected


def test_a_call_that_nobody_decided_says_so_once_its_run_has_ended(
    ask: Callable[..., Any],
) -> None:
    call = {"tool_call_id": "c", "tool_name": "look", "tool_input": {}}
    asked = [
        event(1, "run_submitted", {"input": "q"}),
        event(2, "run_started", {"attempt": 1}),
        event(3, "tool_approval_requested", call),
    ]
    begun = [*asked[:2], event(3, "tool_call_started", call)]
    ended = event(9, "run_cancelled")
    states = """a.map((events) => m.conversation(events)[0].items
        .filter((item) => item.kind === "tool").map(({ call }) => [call.state, call.how]))"""

    assert ask("conversation.js", states, [asked, [*asked, ended], [*begun, ended]]) == [
        [["asks", None]],
        [["undecided", "cancelled"]],
        [["unfinished", "cancelled"]],
    ]


def test_what_happens_to_the_session_stands_where_it_happened(ask: Callable[..., Any]) -> None:
    events = [
        event(1, "run_submitted", {"input": "q"}),
        event(2, "run_started", {"attempt": 1}),
        event(3, "session_recovered", run_id=None),
        event(4, "run_requeued"),
        event(5, "run_started", {"attempt": 2}),
        event(6, "run_completed", {"output": "done"}),
        event(7, "session_paused", run_id=None),
    ]

    groups = ask("conversation.js", "m.conversation(a)", events)

    assert [[item["text"] for item in group["items"]] for group in groups] == [
        ["q", "Session recovered", "Interrupted; it begins again", "Attempt 2", "done"],
        ["Session paused"],
    ]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("RATES", [0, 0.2, 0.05, 2, 5_000], ["0/s", "0.2/s", "0.05/s", "2/s", "5\u202f000/s"]),
        ("TIMES", [0, 0.5, 1.5, 2500, 90_000], ["0", "500 µs", "1.5 ms", "2.5 s", "1 min 30 s"]),
        ("COUNTS", [0, 1, 20], ["0", "1", "20"]),
    ],
)
def test_ticks_are_values_that_are_written_in_full(
    ask: Callable[..., Any], kind: str, values: list[float], expected: list[str]
) -> None:
    told, steps = ask("ticks.js", f"[a.map(m.{kind}.text), m.{kind}.steps]", values)

    assert told == expected
    assert steps == sorted(set(steps))
    assert kind != "COUNTS" or all(step == int(step) for step in steps)


def test_rates_come_from_what_changed_between_two_looks(ask: Callable[..., Any]) -> None:
    def listed(id: str, head: int, completed: int, created: int) -> dict[str, Any]:
        runs = {"completed": completed, "running": 9}
        return {"id": id, "head_seq": head, "runs": runs, "created_at_ns": created * 10**6}

    looks = [
        [listed("old", 100, 5, 0)],
        [listed("old", 110, 7, 0), listed("new", 4, 1, 60), listed("from before", 50, 5, 10)],
        [listed("from before", 51, 5, 10)],
    ]
    expression = """(() => {
        const totals = new m.Totals();
        return a.map((look) => { totals.look(look, 50); return [totals.events, totals.ended]; });
    })()"""

    assert ask("activity.js", expression, looks) == [[0, 0], [14, 3], [15, 3]]


def test_buckets_begin_at_round_times_and_leave_out_what_has_not_passed(
    ask: Callable[..., Any],
) -> None:
    runs = [
        {"ended": 61_000 + n * 10, "queued": n, "waited": None, "ran": 2 * n} for n in range(100)
    ]
    runs.append({"ended": 119_900, "queued": 5, "waited": 7, "ran": 5})

    found = ask("activity.js", "m.buckets(a, 60_500, 119_950)", runs)

    assert len(found) == 58
    first, *rest = found
    assert (first["time"], first["rate"]) == (61_500, 100)
    assert (first["queued50"], first["queued99"], first["ran99"]) == (49, 98, 196)
    assert first["waited50"] is None
    assert {one["rate"] for one in rest} == {0}
    assert {one["queued50"] for one in rest} == {None}


@pytest.mark.parametrize(
    ("hash", "expected"),
    [
        ("", {"view": "sessions"}),
        ("#/sessions", {"view": "sessions"}),
        ("#/nowhere", {"view": "nowhere", "text": "#/nowhere"}),
        ("#/sessions/a", {"view": "session", "id": "a", "tab": "conversation"}),
        ("#/overview", {"view": "overview"}),
        ("#/session/a%2Fb%20%C3%A4", {"view": "session", "id": "a/b ä", "tab": "conversation"}),
        ("#/session/%ff/runs", {"view": "session", "id": "%ff", "tab": "runs"}),
        ("#/search/x%2Fy", {"view": "search", "text": "x/y"}),
    ],
)
def test_addresses_say_what_is_shown(
    ask: Callable[..., Any], hash: str, expected: dict[str, str]
) -> None:
    assert ask("routes.js", "m.route(a)", hash) == expected


def test_a_point_in_time_is_told_as_how_long_ago_it_is(ask: Callable[..., Any]) -> None:
    passed = [1, 45, 200, 7_300, 200_000]

    assert ask("format.js", "a.map((s) => m.ago(0, s * 1000))", passed) == [
        "now",
        "45 s ago",
        "3 min ago",
        "2 h ago",
        "2 d ago",
    ]


def test_times_are_told_as_people_read_them(ask: Callable[..., Any]) -> None:
    values = [None, 0.0123, 12.4, 3_456, 42_000, 200_000, 7_300_000]

    assert ask("format.js", "a.map((ms) => m.duration(ms))", values) == [
        "\N{EN DASH}",
        "12 µs",
        "12 ms",
        "3.5 s",
        "42 s",
        "3 min 20 s",
        "2 h 1 min",
    ]
