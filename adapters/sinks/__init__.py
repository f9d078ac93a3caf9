"""Sinks: where events go besides subscribers."""

from moorage.runtime.reversible_json import event_from_json, event_to_json

from .callback_sink import CallbackSink
from .compact_lines import CompactLinesRenderer
from .delivery import Backoff, SinkProgress, deliver
from .file_sink import FileSink
from .pass_through import PassThroughRenderer
from .port import Sink, SinkFailed
from .rendering import (
    FORMATS,
    CompactRenderer,
    Format,
    JsonLinesRenderer,
    Renderer,
    VerboseRenderer,
    renderer,
)
from .text_sink import TextSink

__all__ = [
    "deliver",
    "Sink",
    "TextSink",
    "FileSink",
    "CallbackSink",
    "Backoff",
    "SinkProgress",
    "SinkFailed",
    "renderer",
    "Renderer",
    "CompactRenderer",
    "VerboseRenderer",
    "JsonLinesRenderer",
    "CompactLinesRenderer",
    "PassThroughRenderer",
    "Format",
    "FORMATS",
    "event_to_json",
    "event_from_json",
]
