"""Dialogue: the entries along one path of a log, put together as messages.

Entries are what a transcript keeps of events. Here calls find their results, runs that interleave
are told one after the other, and a run that said nothing by itself is told by its input and output.
Every call that has a result is followed by it at once, in the order of the calls, whenever it came.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .messages import (
    Block,
    Message,
    Role,
    summary_block,
    text_block,
    tool_call_block,
    tool_result_block,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .entries import Entry

INTERRUPTED_OUTPUT = "interrupted: this call ended without a result, and may have had effects"
PAUSED_OUTPUT = "paused: this call waits for an approval and has not run"
"""What stands for a result where there is none."""


@attrs.define(eq=False)
class Call:
    """A tool call of a message. ``asked`` is the id of an approval request that is open."""

    block: Block
    started: bool = False
    asked: str | None = None
    result: Message | None = None

    @property
    def id(self) -> str:
        return self.block["tool_call_id"]  # type: ignore[no-any-return]

    def synthetic_result(self, after: Message) -> Message:
        """What to tell a model that made this call and got no result."""
        output = INTERRUPTED_OUTPUT if self.asked is None else PAUSED_OUTPUT
        block = tool_result_block(self.id, self.block["tool_name"], output, is_error=True)
        block["synthetic"] = "interrupted" if self.asked is None else "paused"
        return attrs.evolve(after, role="tool", blocks=[block], original=None, partial=False)


@attrs.define(eq=False)
class Spoken:
    """A message and its calls. ``provisional`` marks what events to come may replace (a stream,
    or what the run's input says), ``gathered`` one of calls that no message of the agent had,
    ``steered`` one that came on the run's way."""

    message: Message
    calls: list[Call] = attrs.field(factory=list)
    provisional: bool = False
    gathered: bool = False
    steered: bool = False


@attrs.define(eq=False)
class Group:
    """What was said in one run, or by the host between runs (``run_id`` None)."""

    run_id: str | None
    spoken: list[Spoken] = attrs.field(factory=list)
    ended_seq: int | None = None


@attrs.define(eq=False)
class _Voice:
    """What must be known of a run (or of the host) to go on with it."""

    group: Group
    inputs: list[Spoken] = attrs.field(factory=list)
    calls: dict[str, Call] = attrs.field(factory=dict)
    owners: dict[str, Spoken] = attrs.field(factory=dict)
    partial: Spoken | None = None
    carried: list[Spoken] = attrs.field(factory=list)
    starts: int = 0
    fresh: bool = False
    sent: bool = False
    received: bool = False


@attrs.frozen
class Compaction:
    """From ``first_kept_seq`` on messages are kept; ``summary`` stands for those before."""

    summary: str
    first_kept_seq: int
    seq: int
    time_ns: int
    run_id: str | None


class Dialogue:
    """Groups of messages, in the order in which they began, and the latest compaction."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.groups: list[Group] = []
        self.compaction: Compaction | None = None
        self._voices: dict[str | None, _Voice] = {}
        for entry in entries:
            _FOLDS[entry.type](self, entry)

    def group(self, run_id: str) -> Group | None:
        """What was said in that run, if anything."""
        voice = self._voices.get(run_id)
        return None if voice is None else voice.group

    def _voice(self, run_id: str | None) -> _Voice:
        voice = self._voices.get(run_id)
        if voice is None:
            voice = self._voices[run_id] = _Voice(Group(run_id))
            self.groups.append(voice.group)
        elif run_id is None and self.groups[-1] is not voice.group:
            voice.group = Group(None)
            self.groups.append(voice.group)
        return voice

    def _speaking(self, entry: Entry, *, begins: bool = False) -> _Voice:
        """Who says this. An agent that is called again either goes on where it was (after an
        approval, say) or begins anew, and then what it said before is not told twice. Nor does it
        say again what it was steered with: that stays, behind the input."""
        voice = self._voice(entry.run_id)
        if not begins:
            voice.carried = []
        if voice.fresh:
            voice.fresh = False
            if begins or not voice.sent:
                steered = [spoken for spoken in voice.group.spoken if spoken.steered]
                voice.carried = steered if begins else []
                voice.group.spoken[:] = voice.inputs + steered
                voice.calls.clear()
                voice.owners.clear()
                voice.received = False
        return voice

    def _add(self, voice: _Voice, entry: Entry, role: Role, blocks: list[Block]) -> Spoken:
        message = Message(
            role,
            blocks,
            seq=entry.last_seq,
            run_id=entry.run_id,
            time_ns=entry.time_ns,
            partial=bool(entry.data.get("partial", False)),
            original=entry.data.get("original"),
        )
        spoken = Spoken(message)
        for block in message.tool_calls:
            call = self._adopt(voice, block)
            spoken.calls.append(call)
            voice.calls[call.id] = call
            voice.owners[call.id] = spoken
        voice.group.spoken.append(spoken)
        return spoken

    def _adopt(self, voice: _Voice, block: Block) -> Call:
        """The call of a message, which some agents tell of before the message itself."""
        id = block["tool_call_id"]
        owner = voice.owners.get(id)
        if owner is None or not owner.gathered:
            return Call(block)
        call = voice.calls[id]
        owner.calls.remove(call)
        owner.message.blocks.remove(call.block)
        call.block = block
        return call

    def _open_call(self, voice: _Voice, entry: Entry, *, again: bool) -> Call | None:
        """The call that an event is about; None if it has its result and is not made ``again``."""
        id = entry.data["tool_call_id"]
        call = voice.calls.get(id)
        if call is not None and call.result is None:
            return call
        if call is not None and not again:
            return None
        block = tool_call_block(id, entry.data["tool_name"], entry.data.get("tool_input", {}))
        call = voice.calls[id] = Call(block)
        last = voice.group.spoken[-1] if voice.group.spoken else None
        if last is None or not last.gathered or any(made.result for made in last.calls):
            last = self._add(voice, attrs.evolve(entry, data={}), "assistant", [])
            last.gathered = True
        last.message.blocks.append(block)
        last.calls.append(call)
        voice.owners[id] = last
        return call

    def _started(self, entry: Entry) -> None:
        voice = self._voice(entry.run_id)
        if voice.starts:
            voice.fresh = True
            self._drop_partial(voice)
        voice.starts += 1
        if not voice.sent and not voice.inputs:
            voice.inputs = [
                self._add(voice, entry, item["role"], item["content"])
                for item in entry.data["input"]
            ]
            for spoken in voice.inputs:
                spoken.provisional = True

    def _sent(self, entry: Entry) -> None:
        begins = "steer_id" not in entry.data
        voice = self._speaking(entry, begins=begins)
        if begins and not voice.sent:
            voice.sent = True
            for spoken in voice.inputs:
                voice.group.spoken.remove(spoken)
            voice.inputs = []
        blocks = entry.data["blocks"]
        results = [block for block in blocks if block["type"] == "tool_result"]
        for block in results:
            self._settle(voice, entry, block)
        rest = [block for block in blocks if block["type"] != "tool_result"]
        if rest:
            self._add(voice, entry, entry.data["role"], rest).steered = not begins
        for spoken in voice.carried:
            voice.group.spoken.remove(spoken)
            voice.group.spoken.append(spoken)

    def _settle(self, voice: _Voice, entry: Entry, block: Block) -> None:
        call = self._open_call(voice, attrs.evolve(entry, data=block), again=False)
        if call is not None:
            if not block["tool_name"]:
                block = {**block, "tool_name": call.block["tool_name"]}
            call.asked = None
            call.result = Message(
                "tool", [block], seq=entry.seq, run_id=entry.run_id, time_ns=entry.time_ns
            )

    def _streamed(self, entry: Entry) -> None:
        voice = self._speaking(entry)
        blocks = [text_block("".join(entry.data["text"]))] if entry.data["text"] else []
        if entry.data["thinking"]:
            blocks.insert(0, {"type": "thinking", "text": "".join(entry.data["thinking"])})
        voice.partial = self._add(voice, entry, "assistant", blocks)
        voice.partial.message = attrs.evolve(voice.partial.message, partial=True)
        voice.partial.provisional = True

    def _drop_partial(self, voice: _Voice) -> None:
        if voice.partial is not None:
            voice.group.spoken.remove(voice.partial)
            voice.partial = None

    def _received(self, entry: Entry) -> None:
        voice = self._speaking(entry)
        self._add(voice, entry, "assistant", entry.data["blocks"])
        voice.received = True

    def _called(self, entry: Entry) -> None:
        call = self._open_call(self._speaking(entry), entry, again=True)
        assert call is not None, "a call that has its result is made again"
        call.started = True

    def _returned(self, entry: Entry) -> None:
        self._settle(self._speaking(entry), entry, entry.data)

    def _asked(self, entry: Entry) -> None:
        call = self._open_call(self._speaking(entry), entry, again=True)
        assert call is not None, "a call that has its result is made again"
        call.asked = entry.data["request_id"]

    def _decided(self, entry: Entry) -> None:
        call = self._speaking(entry).calls.get(entry.data["tool_call_id"])
        if call is not None:
            call.asked = None

    def _ended(self, entry: Entry) -> None:
        voice = self._voice(entry.run_id)
        if entry.data["output"]:
            spoken = self._speaking(entry).group.spoken
            if not (voice.received and _is_answer(spoken[-1])):
                self._drop_partial(voice)
                self._add(voice, entry, "assistant", entry.data["output"])
        voice.group.ended_seq = entry.seq

    def _restored(self, entry: Entry) -> None:
        block = summary_block(entry.data["summary"], of="branch")
        self._add(self._voice(None), entry, "user", [block])

    def _compacted(self, entry: Entry) -> None:
        self.compaction = Compaction(
            entry.data["summary"],
            entry.data["first_kept_seq"],
            entry.seq,
            entry.time_ns,
            entry.run_id,
        )

    def _changes_no_message(self, entry: Entry) -> None:
        """Settings are a question of their own."""


def _is_answer(spoken: Spoken) -> bool:
    return spoken.message.role == "assistant" and not spoken.calls


_FOLDS: Mapping[str, Callable[[Dialogue, Entry], None]] = {
    "run_started": Dialogue._started,
    "message_sent": Dialogue._sent,
    "message_streamed": Dialogue._streamed,
    "message_received": Dialogue._received,
    "tool_call_started": Dialogue._called,
    "tool_call_completed": Dialogue._returned,
    "tool_call_failed": Dialogue._returned,
    "tool_approval_requested": Dialogue._asked,
    "tool_approval_granted": Dialogue._decided,
    "tool_approval_denied": Dialogue._decided,
    "run_completed": Dialogue._ended,
    "run_failed": Dialogue._ended,
    "run_cancelled": Dialogue._ended,
    "run_timed_out": Dialogue._ended,
    "run_interrupted": Dialogue._ended,
    "session_restored": Dialogue._restored,
    "context_compacted": Dialogue._compacted,
    "conversation_configured": Dialogue._changes_no_message,
}
