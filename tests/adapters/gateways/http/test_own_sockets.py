from __future__ import annotations

import os

import trio
import trio.testing
from moorage.adapters.gateways.http.own_sockets import OwnSocket

from tests.forked import forks, in_fork


@forks
async def test_a_fork_lets_go_of_a_socket_and_the_parent_keeps_it():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    own = OwnSocket(listeners[0].socket)
    number = listeners[0].socket.fileno()

    def look():
        return os.path.realpath(f"/proc/self/fd/{number}"), os.get_inheritable(number)

    assert in_fork(look) == "('/dev/null', False)"
    stream = await trio.testing.open_stream_to_socket_listener(listeners[0])
    await stream.aclose()
    await listeners[0].aclose()
    assert own.become_copy() is None, "what is closed has nothing to let go of"
