"""Keeping what is sent to a model under its limit: truncation and compaction."""

from .compacting import Compactor, open_compactor
from .estimating import GaugeCache, TokenGauge, message_characters, message_tokens
from .summary_prompt import summary_prompt
from .truncating import truncate
from .window import ContextWindow

__all__ = [
    "ContextWindow",
    "truncate",
    "Compactor",
    "open_compactor",
    "summary_prompt",
    "TokenGauge",
    "GaugeCache",
    "message_characters",
    "message_tokens",
]
