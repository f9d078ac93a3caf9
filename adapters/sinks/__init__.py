"""Sinks: where events go besides subscribers."""

from .rendering import (
    FORMATS,
    CompactRenderer,
    Format,
    JsonLinesRenderer,
    Renderer,
    VerboseRenderer,
    renderer,
)
from .reversible_json import event_from_json, event_to_json

__all__ = [
    "renderer",
    "Renderer",
    "CompactRenderer",
    "VerboseRenderer",
    "JsonLinesRenderer",
    "Format",
    "FORMATS",
    "event_to_json",
    "event_from_json",
]
