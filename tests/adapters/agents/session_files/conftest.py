"""Session files, written line by line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines to a file: maps as JSON, str as they are. ``end`` comes behind the last."""

    def write(*lines: Any, end: str = "\n") -> Path:
        path = tmp_path / "session.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + end, encoding="utf-8", newline="\n")
        return path

    return write
