"""An event of every type that Moorage knows, with data as they are, and what must be seen of it."""

from __future__ import annotations

from typing import Any

import attrs

BEGAN_NS = 1_700_000_000_000_000_000


@attrs.frozen
class Example:
    """``about`` is what one line must have of it, ``said`` what an agent says with it."""

    type: str
    data: Any
    about: tuple[str, ...]
    said: str = ""


def _ended(**facts: Any) -> dict[str, Any]:
    times = {"submitted_at_ns": BEGAN_NS - 3_000_000_000, "started_at_ns": BEGAN_NS - 2_000_000_000}
    return {"attempt": 1, **times, **facts}


def _problem(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "retryable": True}


_OF_SESSIONS = (
    Example(
        "session_opened",
        {"slots": 2, "tags": {"team": "blue"}, "summary": "Quay walls"},
        ("slots=2", "blue", "Quay walls"),
    ),
    Example("session_configured", {"metadata": {"ticket": "T-17"}}, ("metadata", "T-17")),
    Example("session_paused", {}, ()),
    Example("session_resumed", {}, ()),
    Example(
        "session_closed", {"outcome": "failed", "reason": "no budget left"}, ("failed", "budget")
    ),
    Example("session_reopened", {}, ()),
    Example(
        "session_quarantined",
        {"reason": "seq 4 is missing", "state_before": "open"},
        ("seq 4 is missing", "open"),
    ),
    Example("session_recovered", {"requeued": 3, "ended": 5}, ("requeued=3", "ended=5")),
    Example(
        "session_deleted",
        {"state_before": "paused", "reason": "asked by its owner"},
        ("paused", "asked by its owner"),
    ),
    Example("session_undeleted", {}, ()),
)

_OF_RUNS = (
    Example(
        "run_submitted",
        {"input": "Survey the quay", "input_bytes": 15, "key": "k-1", "attempts_max": 3},
        ("Survey the quay",),
    ),
    Example("run_started", {"attempt": 2}, ("attempt 2",)),
    Example(
        "run_waiting",
        {
            "name": "budget",
            "data": {"question": "How much?"},
            "elapsed_ns": 2_000_000_000,
            "expires_at_ns": BEGAN_NS,
            "default": None,
        },
        ("budget", "How much?"),
    ),
    Example("run_resumed", {"name": "budget", "value": "40 crowns"}, ("budget", "40 crowns")),
    Example(
        "run_asked",
        {"name": "approval:req_1", "data": {"tool_name": "dredge"}},
        ("approval:req_1", "dredge"),
    ),
    Example(
        "run_answered",
        {"name": "approval:req_1", "value": {"approved": True, "by": "harbour master"}},
        ("approval:req_1", "true", "harbour master"),
    ),
    Example(
        "run_steered",
        {"steer_id": "str_1", "message": "only the north side", "message_bytes": 20},
        ("str_1", "only the north side"),
    ),
    Example("run_steer_taken", {"steer_id": "str_1"}, ("str_1",)),
    Example(
        "run_cancel_requested",
        {"cause": "run_cancelled", "error": _problem("cancelled", "fog came up")},
        ("cancelled", "fog came up"),
    ),
    Example("run_requeued", {"attempt": 1}, ("attempt 1",)),
    Example(
        "run_completed",
        _ended(output={"content": "All walls stand."}, usage={"output_tokens": 5}),
        ("2.00 s", "All walls stand."),
        "All walls stand.\n",
    ),
    Example(
        "run_failed",
        _ended(error=_problem("agent_failed", "the sounder broke")),
        ("2.00 s", "agent_failed", "the sounder broke"),
    ),
    Example(
        "run_cancelled",
        _ended(error=_problem("cancelled", "fog came up")),
        ("2.00 s", "cancelled", "fog came up"),
    ),
    Example(
        "run_timed_out",
        _ended(error=_problem("timed_out", "the tide was over")),
        ("2.00 s", "timed_out", "the tide was over"),
    ),
    Example(
        "run_interrupted",
        _ended(error=_problem("interrupted", "the process stopped")),
        ("2.00 s", "interrupted", "the process stopped"),
    ),
)

_OF_MESSAGES = (
    Example(
        "message_sent",
        {"role": "user", "content": "only the north side", "steer_id": "str_1"},
        ("only the north side",),
    ),
    Example(
        "message_sent",
        {"role": "user", "content": [{"type": "text", "text": "of this picture"}]},
        ("user", "of this picture"),
    ),
    Example("message_streamed", {"delta": "The wall"}, ("The wall",), "The wall\n"),
    Example(
        "message_streamed",
        {"delta": "", "thinking": "which one, I wonder"},
        ("thinking", "which one, I wonder"),
    ),
    Example(
        "message_received",
        {"content": "It stands.", "model": "m-1", "stop_reason": "end_turn"},
        ("It stands.",),
        "It stands.\n",
    ),
    Example(
        "message_received",
        {"content": "", "tool_calls": [{"tool_call_id": "c1", "tool_name": "sound"}]},
        ("tool_calls", "c1", "sound"),
    ),
)

_OF_TOOLS = (
    Example(
        "tool_call_started",
        {"tool_call_id": "c1", "tool_name": "sound", "tool_input": {"berth": 4}},
        ("c1", "sound", "berth", "4"),
    ),
    Example(
        "tool_call_completed",
        {
            "tool_call_id": "c1",
            "tool_name": "sound",
            "tool_output": "7 fathoms",
            "duration_seconds": 0.5,
        },
        ("c1", "sound", "7 fathoms", "0.5"),
    ),
    Example(
        "tool_call_failed",
        {"tool_call_id": "c1", "tool_name": "sound", "error": _problem("denied", "not at night")},
        ("c1", "sound", "denied", "not at night"),
    ),
    Example(
        "tool_approval_requested",
        {
            "request_id": "req_1",
            "tool_call_id": "c1",
            "tool_name": "dredge",
            "tool_input": {"berth": 4},
            "expires_at_ns": BEGAN_NS,
        },
        ("req_1", "c1", "dredge", "berth"),
    ),
    Example(
        "tool_approval_granted",
        {"request_id": "req_1", "tool_call_id": "c1", "tool_name": "dredge", "by": "ann"},
        ("req_1", "c1", "dredge", "ann"),
    ),
    Example(
        "tool_approval_denied",
        {"request_id": "req_1", "tool_call_id": "c1", "tool_name": "dredge", "reason": "too loud"},
        ("req_1", "c1", "dredge", "too loud"),
    ),
)

_OF_AGENTS = (
    Example(
        "token_usage_updated",
        {"input_tokens": 120, "output_tokens": 45, "cost_usd": 0.03},
        ("input_tokens=120", "output_tokens=45", "cost_usd=0.03"),
    ),
    Example("turn_completed", {"stop_reason": "end_turn", "turns": 2}, ("end_turn", "turns=2")),
    Example(
        "error_occurred",
        {
            "code": "provider_overloaded",
            "category": "provider",
            "message": "try again later",
            "retryable": True,
        },
        ("provider_overloaded", "try again later"),
    ),
    Example(
        "error_recovered",
        {"code": "provider_overloaded", "message": "it answers again"},
        ("provider_overloaded", "it answers again"),
    ),
    Example(
        "provider_event",
        {"provider": "codex", "original": {"method": "model/rerouted"}},
        ("codex", "model/rerouted"),
    ),
    Example("workspace_snapshot_taken", {"snapshot_id": "snap_1"}, ("snap_1",)),
    Example("workspace_diff_computed", {"diff": "+ one bollard"}, ("+ one bollard",)),
    Example("policy_violation", {"rule": "no-network", "action": "fetch"}, ("no-network", "fetch")),
    Example(
        "context_compacted",
        {"summary": "Berths 1 to 3 are sound", "first_kept_seq": 40, "tokens_before": 9_000},
        ("Berths 1 to 3 are sound", "40", "9000"),
    ),
    Example("conversation_configured", {"model": "m-2"}, ("model=m-2",)),
    Example("conversation_cleared", {}, ()),
    Example(
        "checkpoint_created",
        {"checkpoint_id": "chk_1", "seq": 12, "checksum": "c0ffee", "label": "before the storm"},
        ("chk_1", "12", "before the storm"),
    ),
    Example("session_restored", {"to_seq": 12, "checkpoint_id": "chk_1"}, ("12", "chk_1")),
    Example("session_forked", {"session_id": "child-1", "seq": 12}, ("child-1", "12")),
    Example(
        "session_labelled",
        {"label": "high water", "seq": 12, "description": "all afloat"},
        ("high water", "12", "all afloat"),
    ),
)

UNKNOWN = Example(
    "berth_assigned",
    {"berth": 4, "ship": "Fram", "papers": b"\x00\xff"},
    ("berth=4", "ship=Fram", "papers"),
)
"""Of a type that some host has made up."""

EVENT_EXAMPLES = (*_OF_SESSIONS, *_OF_RUNS, *_OF_MESSAGES, *_OF_TOOLS, *_OF_AGENTS, UNKNOWN)
