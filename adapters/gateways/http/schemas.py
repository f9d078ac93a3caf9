"""JSON schemas of what goes over the wire, by name, and of what requests are made of."""

from __future__ import annotations

from typing import Any

import attrs
from moorage.runtime import UsageRow
from moorage.runtime.identifiers import NAME_BYTES_MAX, SESSION_ID_BYTES_MAX
from moorage.runtime.runs import RunState
from moorage.runtime.sessions import SessionState

Schema = dict[str, Any]
"""A JSON schema, of the dialect 2020-12."""

WAIT_SECONDS_MAX = 300
"""How long one request may wait. Whoever wants to wait longer asks again."""
APPEND_EVENTS_MAX = 1_000
PAGE_EVENTS_MAX = 10_000
PAGE_ITEMS_MAX = 1_000
TEXT_BYTES_MAX = 1_024
SLOTS_MAX = 10_000
TAGS_MAX = 64
SUMMARY_BYTES_MAX = 1_024
RUN_ATTEMPTS_MAX = 1_000_000
"""From PAGE_EVENTS_MAX on: as the runtime has them."""
SEQ_MAX = 2**63 - 1
ANY: Schema = {"description": "Any JSON value; bytes and NaN are written as reversible JSON."}


TAG: Schema = {"type": "string", "pattern": "^[^=]+=", "description": "NAME=VALUE"}


def record(
    properties: dict[str, Schema], *, required: tuple[str, ...] = (), description: str = ""
) -> Schema:
    """An object that has these properties and no others."""
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


def ref(name: str) -> Schema:
    """A schema of COMPONENTS."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str = "", *, minimum: int = 1, maximum: int = NAME_BYTES_MAX) -> Schema:
    return _described({"type": "string", "minLength": minimum, "maxLength": maximum}, description)


def text_without_comma() -> Schema:
    """An item of a parameter whose values may be separated by commas."""
    return {**text(), "pattern": "^[^,]+$"}


def whole(description: str = "", *, minimum: int = 0, maximum: int = SEQ_MAX) -> Schema:
    return _described({"type": "integer", "minimum": minimum, "maximum": maximum}, description)


def seconds(description: str = "", *, maximum: float | None = None) -> Schema:
    limit = {} if maximum is None else {"maximum": maximum}
    return _described({"type": "number", "minimum": 0, **limit}, description)


def many(items: Schema, *, minimum: int = 0, maximum: int | None = None) -> Schema:
    limit = {} if maximum is None else {"maxItems": maximum}
    return {"type": "array", "items": items, "minItems": minimum, **limit}


def nullable(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    return schema | {"type": [schema["type"], "null"]}


def _described(schema: Schema, description: str) -> Schema:
    return schema | ({"description": description} if description else {})


def _all(properties: dict[str, Schema], description: str) -> Schema:
    """What we answer: every property is there."""
    return record(properties, required=tuple(properties), description=description)


TAGS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": NAME_BYTES_MAX},
    "maxProperties": TAGS_MAX,
    "description": "What sessions are filtered by.",
}
NODE_TAGS: Schema = TAGS | {"description": "What it demands of the node that serves it."}
METADATA: Schema = {"type": "object", "description": "Whatever the host wants to keep with it."}
SLOTS = whole("Runs at once.", minimum=1, maximum=SLOTS_MAX)
SUMMARY = text("First words of the first input, unless set.", maximum=SUMMARY_BYTES_MAX)
_NOT_IN_NAMES = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
NAME_IN_PATH: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": NAME_BYTES_MAX,
    "pattern": rf"^[^{_NOT_IN_NAMES}]*[^{_NOT_IN_NAMES}\s][^{_NOT_IN_NAMES}]*$",
    "description": "Not blank, and without control characters.",
}
"""What check_name takes: the document says it, and the runtime checks it."""
SESSION_ID_IN_PATH = NAME_IN_PATH | {"maxLength": SESSION_ID_BYTES_MAX}
SESSION_ID = text("Chosen by the caller, or made.", maximum=SESSION_ID_BYTES_MAX)
RUN_ID = text()
ID = {"type": "string"}
TIME_NS = whole("Nanoseconds since 1970.")
STRING = {"type": "string"}
IDS = many(ID)
COUNT = whole()
NUMBER: Schema = {"type": "number"}
EXPIRY: Schema = {
    "anyOf": [{"type": "number"}, {"const": "never"}, {"type": "null"}],
    "description": "After its last change; null leaves it to policies.",
}
NEW_EXPIRY: Schema = {
    "anyOf": [{"type": "number", "minimum": 0}, {"enum": ["never", "by_policy"]}],
    "description": "Retention deletes it so many seconds after its last change, whatever policies "
    "say; `by_policy` leaves it to them again.",
}

_LEASE_LEFT: Schema = {
    "type": ["number", "object"],
    "description": 'Below 0 once it is over; {"$float": "inf"} if it has no end.',
}
_AMOUNTS = ("_tokens", "_usd", "_seconds")
"""Units of what is added up over runs."""

RUN_OPTIONS: dict[str, Schema] = {
    "agent": text("Which of several agents."),
    "metadata": METADATA,
    "on_interrupt": {"type": "string", "enum": ["fail", "requeue"]},
    "attempts_max": whole(minimum=1, maximum=RUN_ATTEMPTS_MAX),
    "timeout_seconds": seconds("Of each attempt, from its start."),
    "queue_seconds_max": seconds("From acceptance to the start."),
    "silence_seconds_max": seconds("Without an event."),
}

COMPONENTS: dict[str, Schema] = {
    "Problem": _all(
        {
            "type": STRING,
            "title": STRING,
            "status": {"type": "integer"},
            "detail": STRING,
            "code": STRING,
            "retryable": {"type": "boolean"},
            "facts": {"type": "object"},
        },
        "An error (RFC 9457). `code` is stable, `retryable` says whether the same request may "
        "succeed later, `facts` are the error's own.",
    ),
    "Session": _all(
        {
            "id": ID,
            "state": {"type": "string", "enum": [state.value for state in SessionState]},
            "tags": {"type": "object", "additionalProperties": STRING},
            "metadata": {"type": "object"},
            "created_at_ns": TIME_NS,
            "modified_at_ns": TIME_NS,
            "head_seq": COUNT,
            "runs": {"type": "object", "additionalProperties": COUNT},
            "summary": nullable(STRING),
            "slots": COUNT,
            "outcome": nullable(STRING),
            "reason": nullable(STRING),
            "timed_waits": COUNT,
            "closed_at_ns": nullable(TIME_NS),
            "deleted_at_ns": nullable(TIME_NS),
            "expire_after_seconds": EXPIRY,
            "node_tags": {"type": "object", "additionalProperties": STRING},
            "agents": many(STRING),
        },
        "What a listing shows; `runs` counts runs by state.",
    ),
    "SessionPage": _all(
        {"sessions": many(ref("Session")), "next_cursor": nullable(STRING)},
        "Sessions, the newest change first. With `next_cursor` there are more.",
    ),
    "SessionStatus": _all(
        {
            "session_id": ID,
            "state": {"type": "string", "enum": [state.value for state in SessionState]},
            "head_seq": COUNT,
            "slots": COUNT,
            "running": IDS,
            "queued": IDS,
            "waiting": IDS,
            "runs_queued_max": COUNT,
            "draining": {"type": "boolean"},
            "cancelling": IDS,
            "unresponsive": IDS,
        },
        "One session at one moment, as its owner has it; ids of runs.",
    ),
    "Run": _all(
        {
            "session_id": ID,
            "run_id": ID,
            "state": {"type": "string", "enum": [state.value for state in RunState]},
            "outcome": nullable(ref("RunOutcome")),
        },
        "A run, with its outcome once it has ended.",
    ),
    "RunOutcome": _all(
        {
            "run_id": ID,
            "session_id": ID,
            "state": {"type": "string", "enum": [state.value for state in RunState]},
            "output": ANY,
            "error": nullable(ref("RunProblem")),
            "usage": nullable({"type": "object"}),
            "attempt": COUNT,
            "submitted_at_ns": TIME_NS,
            "started_at_ns": nullable(TIME_NS),
            "ended_at_ns": TIME_NS,
        },
        "How a run ended.",
    ),
    "RunProblem": _all(
        {
            "code": STRING,
            "message": STRING,
            "type": nullable(STRING),
            "retryable": {"type": "boolean"},
            "details": ANY,
        },
        "Why a run did not complete.",
    ),
    "RunSummary": _all(
        {
            "session_id": ID,
            "run_id": ID,
            "seq": COUNT,
            "state": {"type": "string", "enum": [state.value for state in RunState]},
            "agent": nullable(STRING),
            "model": nullable(STRING),
            "key": nullable(STRING),
            "attempt": COUNT,
            "submitted_at_ns": TIME_NS,
            "started_at_ns": nullable(TIME_NS),
            "ended_at_ns": nullable(TIME_NS),
            "usage": nullable({"type": "object"}),
            "error_code": nullable(STRING),
            "error_message": nullable(STRING),
        },
        "A run without its input and output; `seq` is that of its request.",
    ),
    "RunPage": _all(
        {"runs": many(ref("RunSummary")), "next_cursor": nullable(STRING)},
        "Runs. With `next_cursor` there may be more, even if here are none.",
    ),
    "EventsFound": _all(
        {"events": many(ref("Event")), "next_cursor": nullable(STRING), "scanned": COUNT},
        "Events, of `scanned` that were looked at. With `next_cursor` there may be more, even if "
        "here are none.",
    ),
    "UsageRow": _all(
        {
            "group": nullable(STRING),
            "runs": {"type": "object", "additionalProperties": COUNT},
            **dict.fromkeys(("runs_started", "runs_without_usage", "runs_without_cost"), COUNT),
            **{name: NUMBER for name in attrs.fields_dict(UsageRow) if name.endswith(_AMOUNTS)},
        },
        "Sums over a group of runs; `runs` counts them by state. Nothing is estimated: "
        "`runs_without_usage` and `runs_without_cost` recorded none.",
    ),
    "UsageSummary": _all(
        {"by": STRING, "rows": many(ref("UsageRow")), "total": ref("UsageRow")},
        "What runs have used, group by group; what has no group comes last.",
    ),
    "Node": _all(
        {
            "id": ID,
            "owner": STRING,
            "opened_at": NUMBER,
            "lease_seconds_left": _LEASE_LEFT,
            "sessions": COUNT,
            "state": nullable(ref("NodeState")),
        },
        "A node as the store knows it; `state` is null until it has said something of itself.",
    ),
    "NodeState": _all(
        {
            "offer": many(STRING),
            **dict.fromkeys(("sessions_max", "runs_max", "sessions_busy", "runs_running"), COUNT),
            "draining": {"type": "boolean"},
        },
        "What a node offers, and how busy it is.",
    ),
    "Holding": _all(
        {"holder": nullable(ref("SessionHolder"))}, "Who has a session; null if nobody has."
    ),
    "SessionHolder": _all(
        {
            "node_id": ID,
            "owner": STRING,
            "epoch": COUNT,
            "lease_seconds_left": _LEASE_LEFT,
        },
        "The node that claimed the session last and has not given it up.",
    ),
    "NodeList": _all({"nodes": many(ref("Node"))}, "Those that share a store."),
    "SteerOutcome": _all(
        {"steer_id": ID, "run_id": ID, "steered": {"type": "boolean"}},
        "What became of a message to a running run.",
    ),
    "Event": _all(
        {
            "session_id": ID,
            "seq": whole(minimum=1),
            "time_ns": TIME_NS,
            "type": STRING,
            "run_id": nullable(STRING),
            "data": ANY,
            "metadata": nullable({"type": "object"}),
            "version": COUNT,
        },
        "A fact in a session's log, numbered 1, 2, 3, ... without gaps.",
    ),
    "EventPage": _all(
        {"events": many(ref("Event")), "next_after": COUNT},
        "Events, ascending; `after=next_after` gives those behind them. If none matches, it is the "
        "head that was looked at.",
    ),
    "NewEvent": record(
        {"type": text(), "data": ANY, "metadata": METADATA}, required=("type", "data")
    ),
    "Message": {"type": "object", "description": "A message: `role`, `content` and more."},
    "MessageList": _all({"messages": many(ref("Message"))}, "Messages, in order."),
    "Label": _all(
        {"label": STRING, "seq": COUNT, "description": nullable(STRING), "time_ns": TIME_NS},
        "A bookmark: a name for a seq.",
    ),
    "LabelList": _all({"labels": many(ref("Label"))}, "The one that was set last, last."),
    "Checkpoint": _all(
        {
            "checkpoint_id": ID,
            "seq": COUNT,
            "checksum": STRING,
            "metadata": nullable({"type": "object"}),
            "label": nullable(STRING),
            "time_ns": TIME_NS,
        },
        "A point of the conversation to go back to.",
    ),
    "CheckpointList": _all({"checkpoints": many(ref("Checkpoint"))}, "The oldest first."),
    "Branch": _all(
        {
            "name": nullable(STRING),
            "from_seq": COUNT,
            "first_seq": COUNT,
            "last_seq": COUNT,
            "active": {"type": "boolean"},
        },
        "One line of a conversation.",
    ),
    "BranchList": _all({"branches": many(ref("Branch"))}, "The last one is the active one."),
    "ApprovalList": _all(
        {"approvals": many(ref("Event"))},
        "The `tool_approval_requested` events that nobody has answered yet.",
    ),
    "DrainReport": _all(
        {
            "completed": IDS,
            "interrupted": IDS,
            "requeued": IDS,
            "queued": IDS,
            "not_stopped": IDS,
        },
        "What became of the work, as ids of runs.",
    ),
    "Changed": _all({"changed": {"type": "boolean"}}, "Whether that changed anything."),
    "Cancelled": _all({"cancelled": {"type": "boolean"}}, "False: the run had ended before."),
    "Answered": _all(
        {"answered": {"type": "boolean"}}, "False: nobody was waiting for that any more."
    ),
    "Cursor": _all(
        {"name": STRING, "seq": nullable(COUNT)}, "How far who reads by that name has got."
    ),
    "Trimmed": _all({"oldest_seq": COUNT}, "The oldest event that is still there."),
    "Health": _all({"status": STRING, "reason": nullable(STRING)}, "Whether it works."),
    "Statistics": {"type": "object", "description": "Counts of this process."},
}
"""Name -> schema, as in the OpenAPI document."""

PAGE_LIMIT = whole("At most so many.", minimum=1, maximum=PAGE_EVENTS_MAX)
