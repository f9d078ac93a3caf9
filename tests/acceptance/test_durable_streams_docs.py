"""The examples of docs/durable_streams.md do what it says, with curl."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.acceptance.test_http_docs import LIMIT, address, answer_to

__all__ = ["address"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "durable_streams.md"


def commands() -> list[str]:
    """The lines of all ``sh`` blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_example_of_the_document_works(address: str) -> None:  # the fixture
    answers: list[tuple[str, str]] = []
    for command in commands():
        answer = answer_to(command, address, until="compile" if LIMIT in command else None)
        head, _, body = answer.partition("\n\n")
        answers.append((head, body))
    made, new, again, whole, followed, closed, polled, forked = answers

    assert [head.split()[1] for head, _ in (made, new, again)] == ["201", "200", "204"]
    assert json.loads(whole[1]) == [{"step": "checkout"}, {"step": "compile"}]
    assert 'data:[{"step": "checkout"},{"step": "compile"}]' in followed[1]
    assert "stream-closed: true" in closed[0]
    assert polled[0].split()[1] == "204"
    assert "stream-closed: true" in polled[0]
    assert forked[0].split()[1] == "201"
