"""One supervisor for a whole process, opened when it is first asked for: for frameworks that load
their code before they fork, and that tell nobody when a process begins or ends."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from moorage.runtime import AdmissionClosed
from moorage.runtime.own_process import OwnProcess

from .opening import Supervisor, open_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.runtime import SupervisorLimits
    from moorage.runtime.agents import Agents
    from moorage.runtime.ports import Store


class ProcessSupervisor:
    """``moorage.get()`` is this process's supervisor; the first call opens it, in each process.

    ``make_store`` is called in the process that opens it, so that nothing crosses a fork. A process
    that ends without ``close`` has its runs interrupted at the interpreter's exit. Where several
    processes work at once, such as those of gunicorn, they need a store that they can share
    (Postgres, Redis); over one that has one owner the second ``get`` raises SessionHeld.
    """

    def __init__(
        self,
        make_store: Callable[[], Store],
        agent: Agents,
        *,
        limits: SupervisorLimits | None = None,
    ) -> None:
        """Does no I/O, and may be done at import."""
        self.make_store = make_store
        self._agent = agent
        self._limits = limits
        self._forget()

    def _forget(self) -> None:
        self._process = OwnProcess()
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._open: ExitStack | None = None
        self._supervisor: Supervisor | None = None
        self._closed = False

    def get(self) -> Supervisor:
        """This process's supervisor. Raises what ``open_supervisor`` raises, and tries again with
        the next call; AdmissionClosed after ``close``."""
        supervisor = self._supervisor
        if supervisor is not None and self._process.is_this:
            return supervisor
        if not self._process.is_this:
            self._forget()  # what was opened is the parent's, its lock included
        with self._lock:
            if self._closed:
                raise AdmissionClosed("the supervisor", reason="closed")
            if self._supervisor is None:
                with ExitStack() as opening:
                    self._supervisor = opening.enter_context(
                        open_supervisor(self.make_store(), self._agent, limits=self._limits)
                    )
                    self._open = opening.pop_all()
            return self._supervisor

    def close(self) -> None:
        """Drain this process's supervisor, if it has one, for ``limits.drain_seconds``, and open
        none any more. Closing again waits for whoever is at it; in a process that was forked off
        it does nothing to the parent's."""
        if not self._process.is_this:
            self._forget()
        with self._closing:
            with self._lock:
                self._closed = True
                opened, self._open, self._supervisor = self._open, None, None
            if opened is not None:
                opened.close()
