"""The browser that the other tests of this folder stand on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser import chromium as module

pytestmark = pytest.mark.browser


def test_a_page_runs_its_scripts(page: Any) -> None:
    page.set_content("<p id=here></p><script>here.textContent = 6 * 7</script>")
    assert page.text_content("#here") == "42"


def test_a_page_has_event_streams(page: Any) -> None:
    assert page.evaluate("typeof EventSource") == "function"


def test_a_missing_program_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.VARIABLE, "no-such-browser")
    monkeypatch.delenv(module.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-browser"):
        module.program()


def test_a_missing_program_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.VARIABLE, "no-such-browser")
    monkeypatch.setenv(module.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=module.REQUIRED):
        module.program()
