"""Talk: writes the events of a conversation for tests, one nanosecond apart."""

from __future__ import annotations

from typing import Any

from moorage.runtime.events import Event
from moorage.runtime.transcript import Transcript


class Talk:
    """Events, and the transcript that is fed each of them as it comes."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.transcript = Transcript()

    @property
    def seq(self) -> int:
        return len(self.events)

    def add(self, type: str, run_id: str | None = None, /, **data: Any) -> Talk:
        return self.tell(type, data, run_id)

    def tell(
        self,
        type: str,
        data: Any,
        run_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Talk:
        seq = len(self.events) + 1
        event = Event("s", seq, 100 + seq, type, run_id, data, metadata)
        self.events.append(event)
        self.transcript.apply(event)
        return self

    def start(self, run_id: str, input: Any = "hello", attempt: int = 1) -> Talk:
        """Submit and start a run."""
        self.add("run_submitted", run_id, input=input)
        return self.again(run_id, attempt)

    def again(self, run_id: str, attempt: int = 2) -> Talk:
        return self.add("run_started", run_id, attempt=attempt)

    def sent(self, run_id: str | None, text: str, **more: Any) -> Talk:
        return self.add("message_sent", run_id, role="user", content=text, **more)

    def streamed(self, run_id: str | None, *deltas: str) -> Talk:
        for delta in deltas:
            self.add("message_streamed", run_id, delta=delta)
        return self

    def received(self, run_id: str | None, text: str, *calls: str) -> Talk:
        """An assistant message with calls of these ids, each of the tool "look"."""
        made = [{"tool_call_id": id, "tool_name": "look", "tool_input": {"at": id}} for id in calls]
        return self.add("message_received", run_id, content=text, tool_calls=made)

    def called(self, run_id: str | None, id: str) -> Talk:
        return self.add(
            "tool_call_started", run_id, tool_call_id=id, tool_name="look", tool_input={"at": id}
        )

    def returned(self, run_id: str | None, id: str, output: Any = "seen") -> Talk:
        return self.add(
            "tool_call_completed", run_id, tool_call_id=id, tool_name="look", tool_output=output
        )

    def asked(self, run_id: str, id: str) -> Talk:
        return self.add(
            "tool_approval_requested",
            run_id,
            request_id=f"{run_id}:{id}",
            tool_call_id=id,
            tool_name="look",
            tool_input={"at": id},
        )

    def completed(self, run_id: str, output: Any = None) -> Talk:
        return self.add("run_completed", run_id, output=output)

    def turn(self, run_id: str, question: str, answer: str) -> Talk:
        """A whole run of an agent that records its messages."""
        self.start(run_id, question).sent(run_id, question).received(run_id, answer)
        return self.completed(run_id, {"content": answer})

    def lines(self) -> list[str]:
        return lines(self.transcript.messages())

    def context(self, run_id: str | None = None) -> list[str]:
        return lines(self.transcript.context(run_id))


def lines(messages: list[Any]) -> list[str]:
    """One line for each message: its role's first letter, then what it says."""
    return [f"{message.role[0]}:{_said(message)}" for message in messages]


def _said(message: Any) -> str:
    parts = [message.text] if message.text else []
    parts += [f"[{block['text']}]" for block in message.blocks if block["type"] == "thinking"]
    parts += [f"{call['tool_call_id']}?" for call in message.tool_calls]
    parts += [f"{r['tool_call_id']}={_output(r)}" for r in message.tool_results]
    return " ".join(parts) + ("..." if message.partial else "")


def _output(result: dict[str, Any]) -> str:
    return str(result.get("synthetic", result["tool_output"])) + "!" * result["is_error"]
