"""How a child process can fail its run.

::

    MoorageError
    └── ProcessFailed                  it ended with another exit code, or by a signal
        ├── ProcessNotStarted          there is no such program, or it may not be executed
        ├── ProcessLimitReached        the system has no process, memory or descriptor left
        ├── ProcessOutputTooLarge      more than output_bytes_max on standard output
        └── ProcessResultInvalid       its result line cannot be kept as plain data

The runtime copies ``code``, ``retryable`` and ``details`` into the run's outcome.
"""

from __future__ import annotations

from typing import Any

from moorage.runtime.errors import MoorageError

DETAILS_STDERR_BYTES_MAX = 32_768
"""The runtime leaves out details that are too large as a whole, so they are kept well below."""


class ProcessFailed(MoorageError):
    """The program ended, and not well.

    ``exit_code`` is None when it was killed by a signal or never ran, ``signal`` is that signal's
    name, ``stderr`` the last part of what it wrote to standard error.
    """

    code = "process_failed"

    def __init__(
        self,
        message: str,
        *,
        program: str,
        exit_code: int | None = None,
        signal: str | None = None,
        stderr: str = "",
        stderr_truncated: bool = False,
    ) -> None:
        super().__init__(message)
        self.program = program
        self.exit_code = exit_code
        self.signal = signal
        self.stderr = stderr
        self.stderr_truncated = stderr_truncated

    @property
    def details(self) -> dict[str, Any]:
        """The facts as plain msgpack. Arguments are left out: they may hold secrets."""
        stderr = self.stderr.encode()
        tail = stderr[-DETAILS_STDERR_BYTES_MAX:]
        return {
            "program": self.program,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "stderr": tail.decode("utf-8", "ignore"),
            "stderr_truncated": self.stderr_truncated or len(tail) < len(stderr),
        }


class ProcessNotStarted(ProcessFailed):
    """The program was never executed."""

    code = "process_not_started"


class ProcessLimitReached(ProcessFailed):
    """The system refused another process for now; nothing was executed."""

    code = "process_limit_reached"
    retryable = True


class ProcessOutputTooLarge(ProcessFailed):
    """Standard output went beyond ``output_bytes_max``; the program was ended."""

    code = "process_output_too_large"


class ProcessResultInvalid(ProcessFailed):
    """The result line holds something that is not plain msgpack."""

    code = "process_result_invalid"
