"""Which model the examples ask: with ``--twin`` a scripted one on this machine, else their own.

The scripted one is in ``scripted_model.py``, and needs the extra ``twin``.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

AMP_STAND_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "amp_stand_in.py")
"""Amp works against its own service only."""


@asynccontextmanager
async def asked_model() -> AsyncIterator[Callable[[str], Mapping[str, str]]]:
    """Yields what turns a kind of agent into the variables that it needs for that model."""
    if "--twin" not in sys.argv:
        yield lambda kind: {}
        return
    from moorage.adapters.agents.model_twin import ModelTwin  # nobody else needs its extra
    from scripted_model import reply

    with tempfile.TemporaryDirectory() as directory:
        async with ModelTwin(reply).serving() as twin:
            amp = {"MOORAGE_AMP": AMP_STAND_IN, "TWIN_URL": twin.url, "TWIN_THREADS": directory}
            yield lambda kind: amp if kind == "amp" else twin.configure(kind, directory)
