"""Content blocks of other programs as ours."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from moorage.runtime.messages import Block, text_block, tool_call_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def foreign_blocks(content: object) -> list[Block]:
    """Text, thinking, images and calls of a message's content, a str or a list of blocks as the
    Anthropic and OpenAI interfaces and pi have them; what is none of these is left out."""
    if type(content) is str:
        return [text_block(content)] if content else []
    blocks: list[Block] = []
    for item in content if type(content) is list else []:
        kind = item.get("type") if type(item) is dict else None
        reader = _READERS.get(kind) if type(kind) is str else None
        block = None if reader is None else reader(item)
        if block is not None:
            blocks.append(block)
    return blocks


def output_of(content: object) -> Any:
    """A tool's output: the text if that is all there is, else as it is."""
    if type(content) is list and all(
        type(item) is dict and type(item.get("text")) is str for item in content
    ):
        return "".join(item["text"] for item in content)
    return content


def _text(item: Mapping[str, Any]) -> Block | None:
    text = item.get("text")
    return text_block(text) if type(text) is str and text else None


def _thinking(item: Mapping[str, Any]) -> Block | None:
    text = item.get("thinking")
    return {"type": "thinking", "text": text} if type(text) is str and text else None


def _call(id_name: str, input_name: str) -> Callable[[Mapping[str, Any]], Block | None]:
    def read(item: Mapping[str, Any]) -> Block | None:
        if type(item.get(id_name)) is not str or type(item.get("name")) is not str:
            return None
        return tool_call_block(item[id_name], item["name"], item.get(input_name, {}))

    return read


def _anthropic_image(item: Mapping[str, Any]) -> Block | None:
    source = item.get("source")
    if type(source) is dict:
        return _image(source.get("media_type"), source.get("data"))
    return _image(item.get("mimeType"), item.get("data"))  # pi's


def _openai_image(item: Mapping[str, Any]) -> Block | None:
    url = item.get("image_url")
    if type(url) is not str or not url.startswith("data:"):
        return None
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return _image(media_type, data)


def _image(media_type: object, data: object) -> Block | None:
    if type(media_type) is not str or type(data) is not str:
        return None
    try:
        body = base64.b64decode(data, validate=True)
    except (ValueError, binascii.Error):
        return None
    return {"type": "image", "media_type": media_type, "data": body}


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Block | None]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "summary_text": _text,
    "reasoning_text": _text,
    "thinking": _thinking,
    "image": _anthropic_image,
    "input_image": _openai_image,
    "tool_use": _call("id", "input"),
    "toolCall": _call("id", "arguments"),
}
