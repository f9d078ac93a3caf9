"""Sockets of a server, which its forks let go of.

A fork (``multiprocessing`` in an agent makes some) has a descriptor of each socket of its parent.
As long as it lives the address would stay taken when the server is killed, and whoever is connected
would not be told.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from moorage.runtime.own_process import told_of_forks

if TYPE_CHECKING:
    import trio


class OwnSocket:
    """To be kept as long as the socket."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        told_of_forks(self)

    def become_copy(self) -> None:
        """Let go of it. The number of the descriptor stays taken: closing the socket object would
        close it a second time, whatever had it by then."""
        number = self._socket.fileno()
        if number >= 0:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, number, inheritable=False)
            os.close(nothing)
