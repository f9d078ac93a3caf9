"""A ProcessSupervisor in gunicorn's workers: what its server hooks do for it. Nothing of gunicorn's
is imported."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

from moorage.runtime import InvalidArgument

if TYPE_CHECKING:
    from types import FrameType

    from .process_supervisor import ProcessSupervisor


class GunicornHooks:
    """In a configuration file of gunicorn::

        hooks = GunicornHooks(moorage)
        on_starting, post_worker_init = hooks.on_starting, hooks.post_worker_init
        worker_exit = hooks.worker_exit

    The supervisor is drained as soon as a worker gets SIGTERM, beside the requests that it still
    answers: whoever follows a run sees its end, or that of the drain. ``graceful_timeout``, behind
    which gunicorn kills its workers, has to be longer than ``limits.drain_seconds``.
    """

    def __init__(self, moorage: ProcessSupervisor) -> None:
        self._moorage = moorage

    def on_starting(self, server: Any) -> None:
        """Raise InvalidArgument for several workers over a store that one process at a time has:
        all but one of them would answer every request with SessionHeld."""
        workers, store = server.cfg.workers, self._moorage.make_store()
        if workers > 1 and store.lease_seconds is None:
            raise InvalidArgument(
                f"workers is {workers}, and a {type(store).__name__} belongs to one process at a "
                "time: set workers = 1 and threads, or use a store that processes share "
                "(PostgresStore, RedisStore), or have one `moorage serve` and its HTTP client in "
                "the workers"
            )

    def post_worker_init(self, worker: Any) -> None:
        """In a worker: from now on SIGTERM begins to drain."""

        def terminate(number: int, frame: FrameType | None) -> None:
            # a thread: closing waits, and gunicorn has to go on answering meanwhile
            threading.Thread(target=self._moorage.close, name="moorage drain").start()
            worker.handle_exit(number, frame)

        signal.signal(signal.SIGTERM, terminate)

    def worker_exit(self, server: Any, worker: Any) -> None:
        """In a worker that ends: return when it has been drained."""
        self._moorage.close()
