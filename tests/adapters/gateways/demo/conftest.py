from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
from moorage.adapters.agents import ScriptedAgent
from moorage.adapters.gateways.demo.places import Places
from moorage.adapters.gateways.demo.programs import SESSIONS
from moorage.adapters.gateways.demo.service import Service
from moorage.runtime import open_supervisor
from moorage.stores import MemoryStore


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path)


@pytest.fixture
def serving(places):
    """The demo's service on a store in memory, with an agent of the test's, on its socket."""
    store = MemoryStore()

    @asynccontextmanager
    async def serving(agent=None):
        agent = agent or ScriptedAgent()
        work = SimpleNamespace(running={session_id: {} for session_id in SESSIONS})
        async with open_supervisor(store, agent) as supervisor, trio.open_nursery() as nursery:
            sessions = {id: await supervisor.session(id, slots=2) for id in SESSIONS}
            service = Service(supervisor, sessions, work)
            places.socket.unlink(missing_ok=True)
            socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
            await socket.bind(str(places.socket))
            socket.listen()
            listener = trio.SocketListener(socket)
            nursery.start_soon(trio.serve_listeners, service.serve, [listener])
            yield sessions
            nursery.cancel_scope.cancel()

    return serving
