"""The console as a page: the token, search, keys, the theme, plots, small windows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.gateways.http import TokenFile

from tests.browser.chromium import PATIENCE_SECONDS
from tests.browser.console_server import ConsoleServer

playwright = pytest.importorskip(
    "playwright.sync_api", reason="there is no playwright: make test-browser installs it"
)
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser
DARK = "rgb(21, 24, 26)"
LIGHT = "rgb(247, 247, 245)"
BACKGROUND = "getComputedStyle(document.documentElement).backgroundColor"


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


def test_a_token_is_asked_for_and_kept_in_the_tab(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    file = TokenFile(path)
    tenant = file.issue("acme", scopes=["read", "write"], prefix="acme-").token
    operator = file.issue("ops", scopes=["admin"]).token
    server = ConsoleServer(tmp_path, "--tokens", str(path), token=operator)
    server.start()
    try:
        server.submit("acme-1", "hello")
        server.submit("other-1", "secret")
        page.goto(server.console)
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Continue").click()
        expect(dialog.get_by_role("alert")).to_have_text("This token is not known, or has expired.")
        dialog.get_by_label("Token").fill("tok\u0119n")
        dialog.get_by_label("Token").press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("no such characters")
        assert page.evaluate("sessionStorage.getItem('moorage-token')") == "wrong"

        dialog.get_by_label("Token").fill(tenant)
        dialog.get_by_label("Token").press("Enter")
        expect(page.locator("a.row")).to_have_text(["acme-1"])

        page.reload()
        page.locator("a.row").click()
        expect(page.locator("[data-connection=live]")).to_be_visible()
        page.get_by_label("Message").fill("streamed")
        page.get_by_role("button", name="Submit").click()
        expect(page.locator(".said.assistant .text").last).to_have_text("streamed")
        expect(page.get_by_role("button", name="Drain")).to_be_disabled()
        expect(page.get_by_title("This needs a token with the scope admin")).to_have_count(1)
        expect(page.get_by_role("button", name="Close…")).to_be_enabled()
        page.get_by_role("link", name="Overview").click()
        expect(page.locator(".tile").first).to_contain_text("1")
        expect(page.locator(".tiles")).not_to_contain_text("Streams")

        page.get_by_role("button", name="Sign out").click()
        dialog.get_by_label("Token").fill(operator)
        dialog.get_by_label("Token").press("Enter")
        expect(page.locator(".tiles")).to_contain_text("Streams")
    finally:
        server.kill()


def test_text_is_found_in_names_runs_and_events(page: Any, server: ConsoleServer) -> None:
    server.submit("needle-session", "hay")
    server.submit("b", "look for the NEEDLE here")
    server.submit("c", "hay")
    page.goto(server.console)
    expect(page.locator("a.row")).to_have_count(3)

    page.keyboard.press("/")
    page.keyboard.type("needle")
    page.keyboard.press("Enter")

    expect(page.get_by_role("region", name="sessions")).to_contain_text("needle-session")
    expect(page.get_by_role("region", name="runs").locator("a")).to_have_text(["b"])
    expect(page.get_by_role("region", name="events").locator("a").first).to_have_text("b")
    page.get_by_role("region", name="events").locator("a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("b")


def test_the_list_is_filtered_and_paged_and_stays_as_it_is_now(
    page: Any, server: ConsoleServer
) -> None:
    for number in range(60):
        tags = {"plan": "pro"} if number == 7 else {}
        server.call("POST", "/v1/sessions", {"id": f"s-{number:02}", "tags": tags})
    server.call("POST", "/v1/sessions/s-03/pause")
    rows = page.locator("a.row")
    page.goto(server.console)
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Older").click()
    expect(rows).to_have_count(10)
    page.get_by_role("button", name="Newer").click()
    expect(rows).to_have_count(50)

    page.get_by_label("Beginning of the name").fill("s-1")
    expect(rows).to_have_count(10)
    page.get_by_label("Beginning of the name").fill("")
    page.get_by_label("Tag").fill("plan=pro")
    expect(rows).to_have_text(["s-07"])
    page.get_by_label("Tag").fill("")
    page.get_by_label("State").select_option("paused")
    expect(rows).to_have_text(["s-03"])
    server.call("POST", "/v1/sessions/s-04/pause")
    expect(rows).to_have_text(["s-04", "s-03"])
    server.submit("s-04", "hello")
    expect(page.locator("tr", has_text="s-04").locator("td").nth(3)).to_have_text("1")


def test_all_of_it_can_be_done_with_keys(page: Any, server: ConsoleServer) -> None:
    for name in ("first", "second"):
        server.submit(name, "stay" if name == "second" else "delete it")
    page.goto(server.console)
    expect(page.locator("a.row")).to_have_count(2)

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for key in ("j", "j", "k"):
        page.keyboard.press(key)
    chosen = page.locator("a.row:focus")
    page.keyboard.press("ArrowDown")
    expect(chosen).to_have_attribute("data-session", re.compile("first|second"))
    page.locator("a.row[data-session=second]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-connection=live]")).to_be_visible()

    page.keyboard.press("x")
    expect(page.get_by_role("dialog", name="Cancel this run?")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("[data-state=cancelled]")).to_be_visible()
    page.keyboard.press("2")
    expect(page.locator(".event").last).to_contain_text("run_cancelled")
    page.keyboard.press("3")
    expect(page.locator(".runs tbody tr")).to_have_count(1)
    page.keyboard.press("1")
    page.keyboard.press("i")
    expect(page.get_by_label("Message")).to_be_focused()
    page.keyboard.type("hello / ?")
    page.keyboard.press("Enter")
    expect(page.locator(".said.assistant .text").last).to_have_text("hello / ?")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()

    page.locator("a.row[data-session=first]").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".question")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Approve")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".said.assistant .text").last).to_have_text("Deleted build")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_the_theme_is_that_of_the_system_until_one_is_chosen(
    page: Any, server: ConsoleServer
) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(server.console)
    expect(page.locator("[data-theme=dark]")).to_be_attached()
    assert page.evaluate(BACKGROUND) == DARK
    page.emulate_media(color_scheme="light")
    expect(page.locator("[data-theme=light]")).to_be_attached()
    assert page.evaluate(BACKGROUND) == LIGHT

    page.keyboard.press("t")
    expect(page.locator("[data-theme=dark]")).to_be_attached()
    page.reload()
    expect(page.locator("[data-theme=dark]")).to_be_attached()
    assert page.evaluate(BACKGROUND) == DARK


def test_runs_show_how_long_they_waited_and_ran(page: Any, server: ConsoleServer) -> None:
    page.set_viewport_size({"width": 1200, "height": 750})
    server.submit("a", "stay " + "for a long time " * 9)
    server.submit("a", "hello")
    page.goto(f"{server.console}#/session/a/runs")
    rows = page.locator(".runs tbody tr")
    expect(rows.locator(".state")).to_have_text(["queued", "running"])
    waited = rows.first.locator("td").nth(3)
    before = waited.text_content()
    fits = "(element) => element.scrollWidth <= element.clientWidth"
    assert page.locator(".content.runs").evaluate(fits)
    expect(waited).not_to_have_text(before)

    rows.last.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()

    expect(rows.locator(".state")).to_have_text(["completed", "cancelled"])
    ran = rows.first.locator("td").nth(5).text_content()
    assert re.fullmatch(r"\d+(\.\d)? (µs|ms|s)", ran), ran


def test_the_overview_plots_what_happens(page: Any, server: ConsoleServer) -> None:
    for number in range(5):
        server.submit(f"s-{number}", "hello")
    page.goto(f"{server.console}#/overview")
    expect(page.locator(".tile").first).to_contain_text("5")

    events = page.get_by_role("img", name=re.compile("^Events: events [1-9]"))
    while events.count() == 0:
        server.submit("s-0", "hello")
        page.wait_for_timeout(100)

    expect(page.locator(".plot canvas")).to_have_count(6)
    ran = page.get_by_role("img", name=re.compile(r"^Time running: p50 \d"))
    expect(ran).to_be_visible()
    expect(page.locator(".tiles")).to_contain_text("On this server0 /")


def test_what_is_not_there_is_said_and_no_dialog_stays_over_it(
    page: Any, server: ConsoleServer
) -> None:
    page.goto(server.console)
    page.get_by_role("button", name="New session").click()
    expect(page.get_by_role("dialog")).to_be_visible()

    page.evaluate("location.hash = '#/sessions/nope'")
    expect(page.get_by_role("main")).to_contain_text("There is no session nope")
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.evaluate("location.hash = '#/nowhere'")
    expect(page.get_by_role("main")).to_contain_text("There is no page #/nowhere")


def test_a_small_window_is_enough(page: Any, server: ConsoleServer) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    server.submit("a", "delete it")
    width = "document.documentElement.scrollWidth"
    for place in ("", "#/session/a", "#/session/a/events", "#/overview"):
        page.goto(f"{server.console}{place}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate(width) <= 360, place


def test_the_command_says_where_it_is(server: ConsoleServer) -> None:
    server.end()

    assert f"console: {server.console}\n" in server.told


def test_nothing_is_loaded_from_elsewhere_and_the_policy_is_kept(
    page: Any, server: ConsoleServer
) -> None:
    asked: list[str] = []
    refused: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: refused.append(message.text))
    server.submit("a", "hello")
    for place in ("#/overview", "#/session/a", "#/search/hello"):
        page.goto(f"{server.console}{place}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()

    assert {url for url in asked if not url.startswith(server.address)} == set()
    assert refused == []


def test_without_the_switch_there_is_no_page(page: Any, tmp_path: Path) -> None:
    server = ConsoleServer(tmp_path, "--no-console")
    server.start()
    try:
        assert page.goto(server.console).status == 404
        server.end()
        assert "console" not in server.told
    finally:
        server.kill()
