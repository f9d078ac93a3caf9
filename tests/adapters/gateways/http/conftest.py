from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from moorage.adapters.gateways.offline_agent import offline_agent

from tests.adapters.gateways.http import service

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


@pytest.fixture
def serving() -> Callable[..., AbstractAsyncContextManager[service.Service]]:
    """``async with serving(...) as service``, with the keywords of ``service.serving``."""
    return service.serving


@pytest.fixture
def scripted() -> Any:
    return offline_agent()
