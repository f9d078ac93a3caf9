"""Takes the pictures of the console that the documentation shows: a small fleet at work.

``python -m tests.browser.console_screenshots DIRECTORY``
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.chromium import PATIENCE_SECONDS, running_chromium
from tests.browser.console_server import ConsoleServer

TOPICS = ("invoice", "refund", "onboarding", "export", "outage", "renewal", "upgrade", "webhook")
WORK_SECONDS = 40
"""How long the plots have something to show."""


def take(directory: Path, server: ConsoleServer, browser: Any) -> None:
    """Sessions that work, then a picture of each view."""
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    chance = random.Random(4)
    for topic in TOPICS:
        body = {"id": f"support-{topic}", "slots": chance.choice((1, 1, 2, 4))}
        plan = {"plan": chance.choice(("free", "pro", "team"))}
        server.call("POST", "/v1/sessions", body | {"tags": plan})
    context = browser.new_context(viewport={"width": 1200, "height": 750}, locale="en-GB")
    page = context.new_page()
    page.goto(server.console)
    for second in range(WORK_SECONDS):
        for _ in range(chance.randrange(1, 5)):
            topic = chance.choice(TOPICS[2:])
            words = " ".join(chance.choices(TOPICS, k=chance.randrange(3, 12)))
            text = f"slow {words}" if second > WORK_SECONDS - 6 else words
            server.submit(f"support-{topic}", "fail" if chance.random() < 0.04 else text)
        page.wait_for_timeout(1_000)
    server.submit("support-invoice", "think, then count the words of this invoice with a tool")
    server.submit("support-invoice", "approve the tool, please")
    expect(page.locator("tr", has_text="support-invoice").locator(".wanted")).to_have_text("1")
    page.screenshot(path=directory / "console-sessions.png")
    page.goto(f"{server.console}#/session/support-invoice")
    expect(page.locator(".question")).to_be_visible()
    page.screenshot(path=directory / "console-session.png")
    page.goto(f"{server.console}#/overview")
    expect(page.get_by_role("img", name=re.compile(r"^Time running: p50 \d"))).to_be_visible()
    page.screenshot(path=directory / "console-overview.png")
    page.keyboard.press("t")
    page.goto(f"{server.console}#/session/support-invoice/runs")
    expect(page.locator(".runs tbody tr").first).to_be_visible()
    page.screenshot(path=directory / "console-runs-dark.png")
    context.close()


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, running_chromium() as browser:
        server = ConsoleServer(Path(place), agent="scripted")
        server.start()
        try:
            take(directory, server, browser)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
