"""Transcript: a session's events, folded into the conversation that they are.

It is fed events in order, all at once or as they come, and keeps of them what messages are made
of: deltas are collapsed, tools kept. Going back (``session_restored``), clearing and compacting
lose nothing: they change which part of the log is told. Events whose data has another shape than
expected are told as far as they can be read. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

import attrs

from .branches import Branch, Branches, Segment
from .dialogue import Compaction, Dialogue
from .entries import Entry, kept, output_blocks
from .errors import InvalidArgument
from .events import RUN_TERMINAL_TYPES, Event
from .marks import MARK_FOLDS, Checkpoint, Label, Marks
from .messages import (
    Message,
    digest,
    readable_input,
    summary_block,
)
from .telling import PendingCall, asked, kept_from, pending_calls, told, told_for_good

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

STATE_VERSION = 1


@attrs.define
class _Live:
    """A run that has not ended. ``input`` is what it says, as [role, blocks] pairs, and is only
    told if the agent does not tell it (``sent``) itself."""

    input: list[dict[str, Any]]
    starts: list[int] = attrs.field(factory=list)
    stream: Entry | None = None
    said: bool = False
    received: bool = False


class Transcript:
    """The conversation of one session, up to ``seq``."""

    def __init__(self) -> None:
        self.seq = 0
        self.last: Event | None = None
        """The event of that seq, if it was seen as one."""
        self._forget()

    def _forget(self) -> None:
        self._entries: list[Entry] = []
        self._branches = Branches()
        self._live: dict[str | None, _Live] = {}
        self._marks = Marks()
        self._dialogue: Dialogue | None = None

    def apply(self, event: Event) -> None:
        """Fold one event in; one that was seen before changes nothing."""
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        self.last = event
        fold = _FOLDS.get(event.type)
        if event.type == "session_opened":
            self._forget()  # an id that was deleted and is used again
        if fold is None or type(event.data) is not dict:
            return
        if event.metadata and event.metadata.get("parent_tool_call_id") is not None:
            return  # what a sub-agent says inside of a call is told by the call's result
        self._dialogue = None
        fold(self, event)

    def extend(self, events: Iterable[Event]) -> Transcript:
        """Fold events in, in order; returns itself."""
        for event in events:
            self.apply(event)
        return self

    def messages(self) -> list[Message]:
        """Everything said on the active branch, runs one after the other."""
        return [message for group in self._told().groups for message in told(group)]

    def context(self, run_id: str | None = None) -> list[Message]:
        """What to give a model: the latest summary, what was said since, every call with a result.

        Other runs that have not ended are left out. With ``run_id`` what that run's agent has
        recorded comes last; its input is not told unless the agent sent it.
        """
        dialogue = self._told()
        compaction = dialogue.compaction
        context: list[Message] = []
        if compaction is not None:
            block = summary_block(compaction.summary, of="context")
            context = [Message("user", [block], seq=compaction.seq, time_ns=compaction.time_ns)]
        groups = [g for g in dialogue.groups if g.run_id is None or g.run_id not in self._live]
        own = None if run_id is None else dialogue.group(run_id)
        if own is not None:
            groups = [group for group in groups if group is not own] + [own]
        for group in groups:
            from_seq = 0 if compaction is None else kept_from(group, compaction)
            context += asked(group, own=group is own, from_seq=from_seq)
        return context

    def pending_calls(self, run_id: str) -> list[PendingCall]:
        """Calls of the run's last assistant message that have no result yet."""
        group = self._told().group(run_id)
        return [] if group is None else pending_calls(group)

    def since(self, mark: int | str) -> list[Message]:
        """Messages of the active branch behind a seq or a label. Raises InvalidArgument."""
        seq = self.labelled_seq(mark) if isinstance(mark, str) else mark
        return [message for message in self.messages() if message.seq > seq]

    def labelled_seq(self, label: str) -> int:
        """Where a label is. Raises InvalidArgument if there is none of that name."""
        labels = self._marks.labels
        if label not in labels:
            raise InvalidArgument(
                f"there is no label {label!r}; there are: {', '.join(labels) or 'none'}"
            )
        return labels[label].seq

    def settled(self, seq: int) -> list[Message]:
        """What is told of the branch that leads to ``seq``, the same whenever it is asked for:
        streams of runs that went on beyond ``seq`` are left out."""
        groups = Dialogue(self._path(seq)).groups
        return [message for group in groups for message in told_for_good(group)]

    def checksum(self, seq: int) -> str:
        """sha256, in hex, of what is ``settled`` at ``seq``."""
        return digest(self.settled(seq))

    @property
    def settings(self) -> dict[str, Any]:
        """What ``conversation_configured`` events of the branch add up to; a clear keeps them."""
        settings: dict[str, Any] = {}
        for entry in self._path(self.seq, through_clears=True):
            if entry.type == "conversation_configured":
                settings.update(entry.data)
        return {name: value for name, value in settings.items() if value is not None}

    @property
    def labels(self) -> dict[str, Label]:
        """By name, the one that was put last, last."""
        return dict(self._marks.labels)

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """By id, oldest first."""
        return dict(self._marks.checkpoints)

    @property
    def branches(self) -> list[Branch]:
        """Every branch, oldest first; the last one is the active one."""
        return self._branches.listed(self.seq)

    @property
    def compaction(self) -> Compaction | None:
        """The latest one of the active branch."""
        return self._told().compaction

    @property
    def forks(self) -> list[tuple[str, int]]:
        """Sessions that were forked off, as (session id, seq)."""
        return list(self._marks.forks)

    @property
    def size(self) -> int:
        """How many entries it holds: what is kept of events, on all branches."""
        return len(self._entries)

    @property
    def unfinished(self) -> list[str]:
        """Ids of runs that were submitted and have not ended."""
        return [run_id for run_id in self._live if run_id is not None]

    def is_active(self, seq: int) -> bool:
        """Whether the event of that seq is on the active branch."""
        return any(first <= seq <= last for first, last in self._branches.path(self.seq))

    def state(self) -> dict[str, Any]:
        """All of it as plain data, for a cache; ``from_state`` goes on from there."""
        return {
            "version": STATE_VERSION,
            "seq": self.seq,
            "entries": [list(attrs.astuple(entry, recurse=False)) for entry in self._entries],
            "segments": [list(attrs.astuple(segment)) for segment in self._branches.segments],
            "live": [_live_state(run_id, live) for run_id, live in self._live.items()],
            "marks": self._marks.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Transcript:
        """The transcript of which ``state`` made this; it keeps parts of it as its own.

        Raises InvalidArgument for what another version made: fold the events again.
        """
        if state.get("version") != STATE_VERSION:
            raise InvalidArgument(
                f"the state has version {state.get('version')!r} and this code reads "
                f"{STATE_VERSION}: fold the session's events again"
            )
        transcript = cls()
        transcript.seq = state["seq"]
        transcript._entries = [Entry(*fields) for fields in state["entries"]]
        transcript._branches = Branches([Segment(*fields) for fields in state["segments"]])
        for run_id, input, starts, stream, said, received in state["live"]:
            entry = None if stream is None else transcript._entries[transcript._entry(stream)]
            transcript._live[run_id] = _Live(input, starts, entry, said, received)
        transcript._marks = Marks.from_state(state["marks"])
        return transcript

    def _told(self) -> Dialogue:
        if self._dialogue is None:
            self._dialogue = Dialogue(self._path(self.seq))
        return self._dialogue

    def _path(self, seq: int, *, through_clears: bool = False) -> list[Entry]:
        entries: list[Entry] = []
        for first, last in self._branches.path(seq, through_clears=through_clears):
            start = bisect_left(self._entries, first, key=_seq)
            end = bisect_right(self._entries, last, key=_seq)
            entries += [e for e in self._entries[start:end] if e.last_seq <= last]
        return entries

    def _add(self, event: Event, data: dict[str, Any]) -> Entry:
        entry = Entry(event.seq, event.seq, _time(event), event.type, event.run_id, data)
        self._entries.append(entry)
        return entry

    def _keep(self, event: Event) -> bool:
        data = kept(event.type, event.data)
        if data is not None:
            self._add(event, data)
        return data is not None

    def _of(self, event: Event) -> _Live:
        live = self._live.get(event.run_id)
        if live is None:
            live = self._live[event.run_id] = _Live([])
        return live

    def _entry(self, seq: int) -> int:
        return bisect_left(self._entries, seq, key=_seq)

    def _submitted(self, event: Event) -> None:
        said = readable_input(event.data.get("input"))
        input = [{"role": message.role, "content": message.blocks} for message in said]
        self._live[event.run_id] = _Live(input)

    def _started(self, event: Event) -> None:
        live = self._of(event)
        live.starts.append(event.seq)
        live.received, live.stream = False, None
        self._add(event, {"input": live.input})

    def _sent(self, event: Event) -> None:
        live = self._of(event)
        if not live.said and "steer_id" not in event.data:
            live.input = []  # the agent tells it itself
            for seq in live.starts:
                self._entries[self._entry(seq)].data = {"input": []}
        self._spoken(event)

    def _spoken(self, event: Event) -> None:
        if self._keep(event):
            self._of(event).said = True

    def _streamed(self, event: Event) -> None:
        live = self._of(event)
        entry = live.stream
        if entry is None:
            live.said = True
            entry = live.stream = self._add(event, {"text": [], "thinking": []})
        entry.last_seq = event.seq
        for name, part in (("text", "delta"), ("thinking", "thinking")):
            if type(event.data.get(part)) is str and event.data[part]:
                entry.data[name].append(event.data[part])

    def _received(self, event: Event) -> None:
        live = self._of(event)
        if live.stream is not None:  # the whole message is here
            del self._entries[self._entry(live.stream.seq)]
        live.stream, live.received = None, True
        self._spoken(event)

    def _ended(self, event: Event) -> None:
        live = self._live.pop(event.run_id, None)
        if live is not None and live.starts:
            output = [] if live.received else output_blocks(event.data.get("output"))
            self._add(event, {"output": output})

    def _restored(self, event: Event) -> None:
        to_seq, name = event.data.get("to_seq"), event.data.get("branch")
        if type(to_seq) is not int or not 0 <= to_seq < event.seq:
            return
        self._leave()
        self._branches.begin(event.seq, to_seq, name=name if type(name) is str else None)
        self._keep(event)

    def _cleared(self, event: Event) -> None:
        self._leave()
        self._branches.begin(event.seq, event.seq - 1, cleared=True)

    def _leave(self) -> None:
        for live in self._live.values():
            live.stream = None

    def _marked(self, event: Event) -> None:
        self._marks.apply(event)


def _live_state(run_id: str | None, live: _Live) -> list[Any]:
    stream = None if live.stream is None else live.stream.seq
    return [run_id, live.input, live.starts, stream, live.said, live.received]


def _seq(entry: Entry) -> int:
    return entry.seq


def _time(event: Event) -> int:
    """When the provider says it was, else when it was recorded."""
    time_ns = (event.metadata or {}).get("provider_time_ns")
    return time_ns if type(time_ns) is int else event.time_ns


_FOLDS: Mapping[str, Callable[[Transcript, Event], object]] = {
    "run_submitted": Transcript._submitted,
    "run_started": Transcript._started,
    **dict.fromkeys(RUN_TERMINAL_TYPES, Transcript._ended),
    "message_sent": Transcript._sent,
    "message_streamed": Transcript._streamed,
    "message_received": Transcript._received,
    "tool_call_started": Transcript._spoken,
    "tool_call_completed": Transcript._spoken,
    "tool_call_failed": Transcript._spoken,
    "tool_approval_requested": Transcript._spoken,
    "tool_approval_granted": Transcript._spoken,
    "tool_approval_denied": Transcript._spoken,
    "context_compacted": Transcript._keep,
    "conversation_configured": Transcript._keep,
    "conversation_cleared": Transcript._cleared,
    "session_restored": Transcript._restored,
    **dict.fromkeys(MARK_FOLDS, Transcript._marked),
}
TRANSCRIPT_TYPES = frozenset(_FOLDS) | {"session_opened"}
"""The types of events that change a transcript; it can be fed these alone."""
