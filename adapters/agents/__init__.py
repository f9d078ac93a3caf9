"""Agents: what executes runs."""

from .process import ProcessAgent
from .process_errors import (
    ProcessFailed,
    ProcessLimitReached,
    ProcessNotStarted,
    ProcessOutputTooLarge,
    ProcessResultInvalid,
)
from .scripted import ScriptedAgent

__all__ = [
    "ProcessAgent",
    "ScriptedAgent",
    "ProcessFailed",
    "ProcessNotStarted",
    "ProcessLimitReached",
    "ProcessOutputTooLarge",
    "ProcessResultInvalid",
]
