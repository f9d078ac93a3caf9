"""Headless Chromium for tests, driven by Playwright: the browser that is installed, no download.

Tests skip with a message where it is not. With MOORAGE_BROWSER_REQUIRED set they fail instead:
a run that was to show pages in a browser and skipped one has shown nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED = "MOORAGE_BROWSER_REQUIRED"
VARIABLE = "MOORAGE_CHROMIUM"
"""Names the program to be used, if it is none of ``PROGRAMS``."""
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = (
    # whoever runs tests in a container is root there
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    # it is to talk to the tested server alone
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_SECONDS = 60
"""How long anything on a page may take on a slow and busy machine."""


@contextlib.contextmanager
def running_chromium(*switches: str) -> Iterator[Any]:
    """A ``playwright.sync_api.Browser``; ``switches`` of the command line come on top."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        _missing(f"playwright is not installed: {error}")
    path = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[*SWITCHES, *switches],
            timeout=PATIENCE_SECONDS * 1000,
        )
        try:
            yield browser
        finally:
            browser.close()


def program() -> str:
    """The path of the browser. Skips, or fails, the test that asks without it."""
    named = os.environ.get(VARIABLE)
    found = [path for name in ([named] if named else PROGRAMS) if (path := shutil.which(name))]
    if not found:
        _missing(f"there is no {named or ' or '.join(PROGRAMS)}")
    return found[0]


def _missing(message: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{message}, and {REQUIRED} is set", pytrace=False)
    pytest.skip(f"{message}: make test-browser says what to install")
