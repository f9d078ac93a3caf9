"""Messages: what was said, whoever said it, and how a run's input says it.

A message has a role and blocks. Blocks are plain data, one of::

    {"type": "text", "text": str}
    {"type": "thinking", "text": str}
    {"type": "image", "media_type": str, "data": bytes}
    {"type": "tool_call", "tool_call_id": str, "tool_name": str, "tool_input": ...}
    {"type": "tool_result", "tool_call_id": str, "tool_name": str, "tool_output": ...,
     "is_error": bool}

Other keys of a block are kept. Pure: everything here is a function of its arguments.
"""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs

from .errors import InvalidArgument
from .events import Data, NewEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)
Block = dict[str, Any]
INPUT_KEYS = ("prompt", "content", "text", "messages")

_REQUIRED: Mapping[str, Mapping[str, type]] = {
    "text": {"text": str},
    "thinking": {"text": str},
    "image": {"media_type": str, "data": bytes},
    "tool_call": {"tool_call_id": str, "tool_name": str},
    "tool_result": {"tool_call_id": str},
}
"""Block type -> what it must have."""
_OPTIONAL: Mapping[str, Mapping[str, Any]] = {
    "text": {},
    "thinking": {},
    "image": {},
    "tool_call": {"tool_input": {}},
    "tool_result": {"tool_name": "", "tool_output": None, "is_error": False},
}
"""Block type -> what it is given when it has none."""


def _own(blocks: Iterable[Block]) -> list[Block]:
    return list(blocks)


@attrs.frozen
class Message:
    """One message. ``blocks`` are plain maps (see the module's head).

    ``seq`` is that of the event that completed it, 0 for one that is not in a log yet; ``run_id``
    is None for what a host recorded outside any run; ``time_ns`` counts from 1970. ``partial``
    says that it was streamed and its end never came. ``original`` is what the provider of that
    name sent, {"provider": name, "content": [...]}, to be given back to it unchanged.
    """

    role: Role
    blocks: list[Block] = attrs.field(converter=_own)
    seq: int = 0
    run_id: str | None = None
    time_ns: int = 0
    partial: bool = False
    original: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    @property
    def tool_calls(self) -> list[Block]:
        return [block for block in self.blocks if block["type"] == "tool_call"]

    @property
    def tool_results(self) -> list[Block]:
        return [block for block in self.blocks if block["type"] == "tool_result"]

    @property
    def is_summary(self) -> bool:
        """Whether it stands for messages that are not shown."""
        return any("summary_of" in block for block in self.blocks)

    @property
    def content(self) -> str | list[Block]:
        """The text if that is all there is, else the blocks."""
        if [set(block) for block in self.blocks] == [{"type", "text"}] and (
            self.blocks[0]["type"] == "text"
        ):
            return self.text
        return self.blocks


def text_block(text: str) -> Block:
    return {"type": "text", "text": text}


def tool_call_block(tool_call_id: str, tool_name: str, tool_input: Data) -> Block:
    return {
        "type": "tool_call",
        "tool_call_id": tool_call_id,
        "tool_name": tool_name,
        "tool_input": tool_input,
    }


def tool_result_block(
    tool_call_id: str, tool_name: str, tool_output: Data, *, is_error: bool = False
) -> Block:
    return {
        "type": "tool_result",
        "tool_call_id": tool_call_id,
        "tool_name": tool_name,
        "tool_output": tool_output,
        "is_error": is_error,
    }


def summary_block(summary: str, *, of: str) -> Block:
    """What stands for messages that are not shown; ``of`` says where those are."""
    return {**text_block(_SUMMARY_HEADS[of] + summary), "summary_of": of}


_SUMMARY_HEADS: Mapping[str, str] = {
    "context": "Summary of the conversation up to here:\n\n",
    "branch": "Summary of another branch of this conversation, which was left:\n\n",
}


def text_message(role: Role, text: str) -> Message:
    return Message(role, [text_block(text)])


def content_blocks(content: object, what: str = "content") -> list[Block]:
    """Blocks of a str or a list of blocks, with what is optional filled in.

    Raises InvalidArgument, naming the place below ``what``, for anything else.
    """
    if type(content) is str:
        return [text_block(content)] if content else []
    if type(content) is not list:
        raise InvalidArgument(
            f"{what} must be a str or a list of blocks, not {type(content).__name__}"
        )
    return [_block(block, f"{what}[{index}]") for index, block in enumerate(content)]


def _block(block: object, what: str) -> Block:
    if type(block) is str:
        return text_block(block)
    kind = block.get("type") if type(block) is dict else None
    if type(block) is not dict or type(kind) is not str or kind not in _REQUIRED:
        raise InvalidArgument(
            f"{what} must be a map whose type is one of {', '.join(_REQUIRED)}, "
            f"not {str(block)[:80]}"
        )
    for name, wanted in _REQUIRED[kind].items():
        if type(block.get(name)) is not wanted:
            raise InvalidArgument(
                f"{what} is a {kind} block: its {name} must be {wanted.__name__}, "
                f"not {str(block.get(name))[:80]!r}"
            )
    return {**_OPTIONAL[kind], **block}


def readable_blocks(content: object) -> list[Block]:
    """What can be read of any agent's content; what cannot is left out."""
    if type(content) is not list:
        content = [content]
    blocks: list[Block] = []
    for item in content:
        try:
            blocks += content_blocks([item] if type(item) is dict else item)
        except InvalidArgument:
            if type(item) is dict and type(item.get("text")) is str:
                blocks.append(text_block(item["text"]))
    return blocks


def received_blocks(data: Mapping[str, Any]) -> list[Block]:
    """The blocks of a message_received: those it names, or its text, and its tool calls."""
    blocks = readable_blocks(data["blocks"] if "blocks" in data else data.get("content"))
    there = {block["tool_call_id"] for block in blocks if block["type"] == "tool_call"}
    calls = data.get("tool_calls")
    for call in calls if type(calls) is list else []:
        if type(call) is dict and call.get("tool_call_id") not in there:
            blocks += readable_blocks([{**call, "type": "tool_call"}])
    return blocks


def input_messages(input: Data) -> list[Message]:
    """The messages of a run's input: a str, or a map with one of prompt, content, text, messages.

    Raises InvalidArgument for what says nothing or something else.
    """
    if type(input) is str:
        return [_said("user", input, "input")]
    if type(input) is not dict:
        raise InvalidArgument(f"input must be a str or a map, not {type(input).__name__}")
    given = [key for key in INPUT_KEYS if key in input]
    if len(given) != 1:
        raise InvalidArgument(
            f"input must have exactly one of {', '.join(INPUT_KEYS)}; it has "
            f"{', '.join(given) or 'none'}"
        )
    key = given[0]
    value = input[key]
    if key == "messages":
        return _listed(value)
    if key != "content" and type(value) is not str:
        raise InvalidArgument(f"input[{key!r}] must be a str, not {type(value).__name__}")
    return [_said("user", value, f"input[{key!r}]")]


def _listed(messages: object) -> list[Message]:
    if type(messages) is not list or not messages:
        raise InvalidArgument(
            "input['messages'] must be a list of at least one map of role and content"
        )
    return [
        message_from_plain(item, f"input['messages'][{index}]")
        for index, item in enumerate(messages)
    ]


def _said(role: Role, content: object, what: str) -> Message:
    blocks = content_blocks(content, what)
    if all(block["type"] == "text" and not block["text"].strip() for block in blocks):
        raise InvalidArgument(f"{what} is empty: say something, or attach an image")
    return Message(role, blocks)


def readable_input(input: Data) -> list[Message]:
    """``input_messages``, or nothing where an input is not meant to be read as a message."""
    try:
        return input_messages(input)
    except InvalidArgument:
        return []


def message_to_plain(message: Message) -> dict[str, Any]:
    """A map with ``role`` and ``content`` first, and of the rest what is not at its default."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    for name, default in _PLAIN_DEFAULTS.items():
        value = getattr(message, name)
        if value != default:
            plain[name] = value
    return plain


_PLAIN_DEFAULTS: Mapping[str, Any] = {
    "seq": 0,
    "run_id": None,
    "time_ns": 0,
    "partial": False,
    "original": None,
}
_PLAIN_TYPES: Mapping[str, tuple[type, ...]] = {
    "seq": (int,),
    "run_id": (str, type(None)),
    "time_ns": (int,),
    "partial": (bool,),
    "original": (dict, type(None)),
}


def message_from_plain(plain: object, what: str = "message") -> Message:
    """The message of which ``message_to_plain`` made a map; it needs a role and content alone.

    Raises InvalidArgument, naming the place below ``what``.
    """
    role = plain.get("role") if type(plain) is dict else None
    if type(plain) is not dict or role not in ROLES:
        raise InvalidArgument(
            f"{what} must be a map with content and a role, one of {', '.join(ROLES)}, "
            f"not {str(plain)[:80]}"
        )
    rest = {name: plain[name] for name in _PLAIN_DEFAULTS if name in plain}
    for name, value in rest.items():
        if type(value) not in _PLAIN_TYPES[name]:
            wanted = _PLAIN_TYPES[name][0].__name__
            raise InvalidArgument(f"{what}[{name!r}] must be {wanted}, not {str(value)[:80]!r}")
    return Message(role, content_blocks(plain.get("content"), f"{what}['content']"), **rest)


def message_events(messages: Iterable[Message]) -> list[NewEvent]:
    """The events that record messages in another session, in order; a transcript of them says
    the same."""
    events: list[NewEvent] = []
    for message in messages:
        metadata = {"provider_time_ns": message.time_ns} if message.time_ns else None
        if message.role == "assistant":
            events.append(NewEvent("message_received", _received(message), metadata))
        elif message.role == "tool" and len(message.tool_results) == len(message.blocks):
            events += [NewEvent(*_result(block), metadata) for block in message.blocks]
        else:
            data = {"role": message.role, "content": message.content}
            events.append(NewEvent("message_sent", data, metadata))
    return events


def event_places(messages: Sequence[Message]) -> list[int]:
    """For each message, which of its ``message_events`` is the first that is its own."""
    counts = (len(message_events([message])) for message in messages)
    return [0, *accumulate(counts)][: len(messages)]


def _received(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = {"content": message.text}
    if message.content != message.text:
        data["blocks"] = message.blocks
    if message.tool_calls:
        data["tool_calls"] = [_without_type(block) for block in message.tool_calls]
    if message.partial:
        data["partial"] = True
    if message.original is not None:
        data["original"] = message.original
    return data


def _result(block: Block) -> tuple[str, dict[str, Any]]:
    data = {name: value for name, value in _without_type(block).items() if name != "is_error"}
    if not block["is_error"]:
        return "tool_call_completed", data
    output = block["tool_output"]
    message = output if type(output) is str else "the tool failed"
    return "tool_call_failed", {**data, "error": {"code": "tool_failed", "message": message}}


def _without_type(block: Block) -> Block:
    return {name: value for name, value in block.items() if name != "type"}


def digest(messages: Iterable[Message]) -> str:
    """sha256, in hex, over what messages say and where they are in the log."""
    hash = hashlib.sha256()
    for message in messages:
        parts = [message.seq, message.role, message.blocks, message.partial, message.original]
        _feed(hash.update, parts)
    return hash.hexdigest()


def _feed(update: Any, value: Data) -> None:
    """Each value with its type and length, so that no two different ones give the same bytes."""
    kind = type(value)
    if kind is dict:
        update(b"m%d;" % len(value))
        for key in sorted(value):
            _feed(update, key)
            _feed(update, value[key])
    elif kind is list:
        update(b"l%d;" % len(value))
        for item in value:
            _feed(update, item)
    else:
        body = value if kind is bytes else str(value).encode("utf-8", "surrogatepass")
        update(b"%s%d;%s" % (kind.__name__.encode(), len(body), body))
