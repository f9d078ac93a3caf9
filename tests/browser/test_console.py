"""The console in a real Chromium, over a real server: what people do there, and see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import PATIENCE_SECONDS
from tests.browser.console_server import ConsoleServer

playwright = pytest.importorskip(
    "playwright.sync_api", reason="there is no playwright: make test-browser installs it"
)
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser
SHOWN = 200
"""Events in the list, unless more are asked for."""


def expect(locator: Any) -> Any:
    """Playwright's assertions, which wait as long as a busy machine may need."""
    playwright.expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    return playwright.expect(locator)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConsoleServer]:
    server = ConsoleServer(tmp_path)
    server.start()
    yield server
    server.kill()


def open_session(page: Any, server: ConsoleServer, session_id: str = "a") -> None:
    server.call("POST", "/v1/sessions", {"id": session_id})
    page.goto(f"{server.console}#/session/{session_id}")
    expect(page.locator("[data-connection=live]")).to_be_visible()


def write(page: Any, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def last_answer(page: Any) -> Any:
    return page.locator(".said.assistant .text").last


def test_a_session_is_made_and_a_run_submitted_and_watched_while_it_streams(
    page: Any, server: ConsoleServer
) -> None:
    page.goto(server.address)
    expect(page).to_have_url(re.compile(r"/console/$"))
    page.get_by_role("button", name="New session").click()
    page.get_by_label("Name", exact=True).fill("visit one")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("visit one")

    write(page, "count for me")

    expect(page.locator(".said.user")).to_have_text("Usercount for me")
    expect(page.locator(".streaming .text")).to_contain_text("word-3 ")
    expect(page.locator("[data-state=running]")).to_be_visible()
    seen = page.locator(".streaming .text").text_content()
    expect(page.locator(".streaming .text")).not_to_have_text(seen)
    longer = page.locator(".streaming .text").text_content()
    assert longer.startswith(seen)
    expect(page.get_by_label("Message")).to_have_value("")


def test_a_tool_is_approved_and_another_denied_and_a_question_answered(
    page: Any, server: ConsoleServer
) -> None:
    open_session(page, server)

    write(page, "delete it")
    approval = page.get_by_role("form", name="Approval of delete_files")
    expect(approval).to_contain_text('"path": "build"')
    expect(page.locator(".call.asks")).to_be_visible()
    approval.get_by_role("button", name="Edit the input").click()
    approval.get_by_label("Input").fill('{"path": "dist"}')
    approval.get_by_role("button", name="Approve").click()
    expect(last_answer(page)).to_have_text("Deleted dist")
    expect(page.locator(".call.done")).to_be_visible()
    expect(approval).to_have_count(0)

    write(page, "delete it again")
    approval.get_by_role("button", name="Deny").click()
    page.get_by_label("Reason", exact=True).fill("not today")
    page.get_by_role("dialog").get_by_role("button", name="Deny").click()
    expect(last_answer(page)).to_have_text("Left alone: not today")

    write(page, "ask me")
    asked = page.get_by_role("form", name="Answer to colour")
    expect(asked).to_contain_text("Which colour?")
    asked.get_by_label("Answer").fill("green")
    asked.get_by_role("button", name="Answer").click()
    expect(last_answer(page)).to_have_text("It will be green")


def test_what_was_asked_before_the_page_was_opened_is_there(
    page: Any, server: ConsoleServer
) -> None:
    server.submit("a", "delete it")
    open_session(page, server)

    page.get_by_role("button", name="Approve").click()

    expect(last_answer(page)).to_have_text("Deleted build")


def test_a_run_is_cancelled_after_a_question(page: Any, server: ConsoleServer) -> None:
    open_session(page, server)
    write(page, "stay there")
    expect(last_answer(page)).to_have_text("I stay. ")
    expect(page.locator(".facts .slots")).to_contain_text("1/1")

    page.get_by_role("button", name="Cancel run").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()

    expect(page.locator("[data-state=cancelled]")).to_be_visible()
    expect(page.locator(".facts .slots")).to_contain_text("0/1")
    assert server.events("a")[-1]["type"] == "run_cancelled"


def test_a_run_that_is_cancelled_while_it_waits_was_neither_queued_nor_running(
    page: Any, server: ConsoleServer
) -> None:
    open_session(page, server)
    write(page, "delete it")
    expect(page.locator(".call.asks")).to_be_visible()
    page.wait_for_timeout(2_000)  # the time that it waits is what is looked at
    page.get_by_role("button", name="Cancel run").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it running").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("[data-state=waiting]")).to_be_visible()
    page.get_by_role("button", name="Cancel run").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()

    expect(page.locator(".call .outcome")).to_have_text("not decided: run cancelled")
    foot = page.locator(".run footer")
    waited = foot.locator("span", has_text="waited").text_content().removeprefix("waited ")
    ran = foot.locator("span", has_text="ran").text_content().removeprefix("ran ")
    page.get_by_role("link", name="Runs").click()
    cells = page.locator(".runs tbody td")
    expect(cells.nth(4)).to_have_text(waited)
    expect(cells.nth(5)).to_have_text(ran)
    assert page.locator(".timing .waited").bounding_box()["width"] > 0
    page.get_by_role("link", name="Overview").click()
    told = re.compile(f"^Time waiting for an answer: p50 {waited}, p99 {waited}")
    expect(page.get_by_role("img", name=told)).to_be_visible()
    expect(page.get_by_role("img", name=f"Time running: p50 {ran}, p99 {ran}")).to_be_visible()


def test_after_a_kill_and_a_restart_nothing_is_missing_or_doubled(
    page: Any, server: ConsoleServer
) -> None:
    open_session(page, server)
    for killed in range(2):
        write(page, f"count {killed}")
        expect(page.locator(".streaming .text")).to_contain_text("word-5 ")
        server.kill()
        expect(page.locator("[data-connection=waiting]")).to_be_visible()
        server.start()
        expect(page.locator("[data-connection=live]")).to_be_visible()
        expect(page.locator("[data-state=interrupted]")).to_have_count(killed + 1)
    write(page, "hello again")
    expect(last_answer(page)).to_have_text("hello again")

    events = server.events("a")
    expect(page.locator("#head-seq")).to_have_text(str(len(events)))
    said = [e["data"]["delta"] for e in events if e["type"] == "message_streamed"]
    shown = page.locator(".said.assistant .text").all_text_contents()
    assert "".join(shown[:2]) == "".join(said)
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".event").last).to_contain_text("run_completed")
    seqs = page.locator(".event .seq").all_text_contents()
    assert [int(seq) for seq in seqs] == [e["seq"] for e in events][-SHOWN:]


def test_a_server_that_ends_in_order_is_come_back_to(page: Any, server: ConsoleServer) -> None:
    open_session(page, server)
    server.end()
    expect(page.locator("[data-connection=waiting]")).to_be_visible()

    write(page, "is anybody there?")
    expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
    page.get_by_role("button", name="Submit").click(trial=True)  # nothing lies above it
    server.start()
    expect(page.locator("[data-connection=live]")).to_be_visible()
    page.get_by_role("button", name="Submit").click()

    expect(last_answer(page)).to_have_text("is anybody there?")
    assert [e["type"] for e in server.events("a")].count("run_submitted") == 1


def test_a_message_whose_answer_got_lost_is_sent_again_as_the_same_run(
    page: Any, server: ConsoleServer
) -> None:
    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    open_session(page, server)
    page.route("**/runs", lose)
    write(page, "only once")
    expect(page.locator(".notice.bad")).to_contain_text("cannot be reached")
    expect(last_answer(page)).to_have_text("only once")
    page.unroute("**/runs")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_label("Message")).to_have_value("")

    write(page, "only once")
    expect(page.locator(".said.user")).to_have_count(2)
    assert [e["type"] for e in server.events("a")].count("run_submitted") == 2


def test_what_was_trimmed_away_meanwhile_is_skipped(page: Any, server: ConsoleServer) -> None:
    server.submit("a", "hello")
    open_session(page, server)
    expect(page.locator("[data-state=completed]")).to_be_visible()
    server.kill()
    page.route("**/events", lambda route: route.abort())
    server.start()
    notes = [{"type": "note", "data": {"n": n}} for n in range(100)]
    server.call("POST", "/v1/sessions/a/events", {"events": notes})
    server.submit("a", "and again")
    oldest = server.call("POST", "/v1/sessions/a/trim", {"before": 90})["oldest_seq"]
    assert oldest > 20

    page.unroute("**/events")

    expect(last_answer(page)).to_have_text("and again")
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".event").last).to_contain_text("run_completed")
    seqs = [int(seq) for seq in page.locator(".event .seq").all_text_contents()]
    assert seqs == sorted(set(seqs))
    assert oldest in seqs
    assert oldest - 1 not in seqs


def test_a_running_run_is_steered(page: Any, server: ConsoleServer) -> None:
    open_session(page, server)
    write(page, "steered")
    expect(last_answer(page)).to_have_text("Tell me more. ")
    expect(page.get_by_role("button", name="Steer")).to_be_visible()

    page.get_by_label("Message").fill("the sea")
    page.get_by_label("Message").press("Alt+Enter")

    expect(last_answer(page)).to_have_text("I was told: the sea")
    expect(page.locator(".said.user .text").last).to_have_text("the sea")
    assert [e["type"] for e in server.events("a")].count("run_submitted") == 1


def test_a_session_is_paused_drained_and_closed(page: Any, server: ConsoleServer) -> None:
    open_session(page, server)
    state = page.locator(".facts .state")
    actions = page.get_by_role("group", name="Session")
    dialog = page.get_by_role("dialog")

    actions.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    write(page, "later")
    expect(page.locator("[data-state=queued]")).to_be_visible()
    actions.get_by_role("button", name="Resume").click()
    expect(last_answer(page)).to_have_text("later")
    expect(state).to_have_text("open")

    actions.get_by_role("button", name="Drain").click()
    dialog.get_by_role("button", name="Drain").click()
    expect(state).to_have_text("draining")
    write(page, "too late")
    expect(page.locator(".notice.bad")).to_be_visible()
    expect(page.get_by_label("Message")).to_have_value("too late")
    actions.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("open")

    actions.get_by_role("button", name="Close").click()
    dialog.get_by_role("button", name="Close").click()
    expect(state).to_have_text("closed")
    expect(page.locator("[data-connection=ended]")).to_be_visible()
    expect(page.get_by_label("Message")).to_be_disabled()
    actions.get_by_role("button", name="Reopen").click()
    expect(page.locator("[data-connection=live]")).to_be_visible()


def test_hostile_text_stays_text(page: Any, server: ConsoleServer) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>window.taken=1</script>"
    server.call("POST", "/v1/sessions", {"id": "<b>bold</b>", "tags": {"<i>": "<u>"}})
    open_session(page, server)
    server.call(
        "POST",
        "/v1/sessions/a/events",
        {"events": [{"type": "error_occurred", "data": {"message": hostile, "<b>": hostile}}]},
    )
    write(page, hostile)

    expect(last_answer(page)).to_have_text(hostile)
    expect(page.locator(".note.bad")).to_contain_text("<img src=x")
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".event").last).to_contain_text("run_completed")
    page.locator(".event").filter(has_text="error_occurred").locator("summary").click()
    expect(page.locator(".event pre")).to_contain_text("<script>")
    page.get_by_role("link", name="Runs").click()
    expect(page.locator(".runs .name").first).to_contain_text("<img src=x")
    page.get_by_role("link", name="Sessions", exact=True).click()
    expect(page.get_by_role("link", name="<b>bold</b>")).to_be_visible()
    expect(page.locator(".tags span")).to_have_text("<i>=<u>")
    assert page.locator("main img, main script, main b b, main u").count() == 0
    assert page.evaluate("window.taken") is None
    assert page.title() != "taken"


def test_a_tab_that_nobody_looks_at_lets_go_of_its_stream(page: Any, server: ConsoleServer) -> None:
    show = """(state) => {
        const property = { get: () => state, configurable: true };
        Object.defineProperty(document, "visibilityState", property);
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.clock.install()
    open_session(page, server)
    page.evaluate(show, "hidden")
    page.clock.fast_forward(31_000)
    expect(page.locator("[data-connection=waiting]")).to_be_visible()
    server.submit("a", "hello")
    page.clock.fast_forward(60_000)
    assert page.locator(".said").count() == 0

    page.evaluate(show, "visible")

    expect(last_answer(page)).to_have_text("hello")
    expect(page.locator("[data-connection=live]")).to_be_visible()


def test_a_long_log_is_loaded_a_page_at_a_time(page: Any, server: ConsoleServer) -> None:
    server.call("POST", "/v1/sessions", {"id": "a"})
    for part in range(5):
        events = [{"type": "note", "data": {"n": part * 150 + n}} for n in range(150)]
        server.call("POST", "/v1/sessions/a/events", {"events": events})
    open_session(page, server)
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".event").last).to_contain_text('"n":749')
    assert page.locator(".event").count() == SHOWN

    for loaded in (600, 751):
        page.get_by_role("button", name="Load older events").click()
        expect(page.locator(".toolbar span")).to_contain_text(f"of {loaded} loaded")

    for shown, more in ((200, 200), (400, 200), (600, 151)):
        expect(page.locator(".event")).to_have_count(shown)
        page.get_by_role("button", name=f"Show {more} more").click()
    expect(page.locator(".event")).to_have_count(751)
    expect(page.get_by_role("button", name="Load older events")).to_have_count(0)
