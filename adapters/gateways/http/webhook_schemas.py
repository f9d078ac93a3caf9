"""JSON schemas of webhooks, beside those in ``schemas``."""

from __future__ import annotations

from moorage.adapters.gateways.webhooks.registry import (
    DESCRIPTION_BYTES_MAX,
    TAGS_MAX,
    TYPES_MAX,
)
from moorage.adapters.sinks.webhook.addresses import URL_CHARACTERS_MAX
from moorage.runtime.identifiers import SESSION_ID_BYTES_MAX

from .schemas import (
    COMPONENTS,
    COUNT,
    ID,
    STRING,
    TAGS,
    TIME_NS,
    Schema,
    many,
    nullable,
    record,
    ref,
    seconds,
    text,
    whole,
)

REDELIVERED_MAX = 100
"""Dead letters of one request."""
KEEP_SECONDS_MAX = 30 * 86_400
LETTERS_MAX = 10_000

URL = text("Where events are posted: https, at a public address.", maximum=URL_CHARACTERS_MAX)
TYPES = many(text(), minimum=1, maximum=TYPES_MAX)
DESCRIPTION = text("For people.", minimum=0, maximum=DESCRIPTION_BYTES_MAX)
LETTER_IDS = many(text(), minimum=1, maximum=LETTERS_MAX)

NEW_WEBHOOK: Schema = record(
    {
        "url": URL,
        "session_id": text("Events of this session only.", maximum=SESSION_ID_BYTES_MAX),
        "prefix": text("Events of sessions whose ids begin with this.", minimum=0),
        "tags": TAGS | {"maxProperties": TAGS_MAX},
        "types": TYPES | {"description": "Of these types only."},
        "start": {
            "type": "string",
            "enum": ["now", "beginning"],
            "description": "Which events: those from now on, or all that there are.",
        },
        "description": DESCRIPTION,
    },
    required=("url",),
)
CHANGED_WEBHOOK: Schema = record(
    {
        "url": URL,
        "types": nullable(TYPES),
        "description": DESCRIPTION,
        "enabled": {
            "type": "boolean",
            "description": "True goes on behind what was taken; nothing of it was lost.",
        },
    }
)

_WEBHOOK: dict[str, Schema] = {
    "id": ID,
    "url": STRING,
    "session_id": nullable(STRING),
    "prefix": STRING,
    "tags": TAGS,
    "types": nullable(many(STRING)),
    "since_ns": COUNT,
    "description": STRING,
    "enabled": {"type": "boolean"},
    "disabled_reason": nullable(STRING),
    "created_at_ns": TIME_NS,
    "secrets": many(record({"expires_at_ns": nullable(COUNT)}, required=("expires_at_ns",))),
    "status": ref("WebhookStatus"),
}
_STATUS: dict[str, Schema] = {
    "delivering": {"type": "boolean", "description": "By this process, at this moment."},
    "delivered_messages": COUNT,
    "delivered_events": COUNT,
    "failures": COUNT,
    "dead_letters": COUNT,
    "missed_events": whole("Trimmed away before they were taken."),
    "last_success_at_ns": nullable(COUNT),
    "last_failure_at_ns": nullable(COUNT),
    "last_status": nullable(COUNT),
    "last_error": nullable(STRING),
    "pending_sessions": whole("Sessions with events that were not taken yet."),
    "oldest_pending_seconds": seconds("How long the first of them has waited."),
    "paused_seconds": seconds("Until a target that failed is asked again."),
}
_LETTER: dict[str, Schema] = {
    "id": ID,
    "session_id": STRING,
    "first_seq": COUNT,
    "last_seq": COUNT,
    "attempts": COUNT,
    "error": STRING,
    "time_ns": TIME_NS,
}


def _all(properties: dict[str, Schema], description: str) -> Schema:
    return record(properties, required=tuple(properties), description=description)


COMPONENTS.update(
    {
        "Webhook": _all(_WEBHOOK, "Where which events go. Its secrets are not told again."),
        "WebhookStatus": _all(_STATUS, "How a webhook is doing since the process began."),
        "NewWebhook": _all(
            _WEBHOOK | {"secret": STRING}, "The webhook, and its secret, which is told this once."
        ),
        "WebhookList": _all({"webhooks": many(ref("Webhook"))}, "The oldest first."),
        "WebhookSecret": _all({"secret": STRING}, "The new secret, which is told this once."),
        "Posted": _all(
            {
                "verdict": {"type": "string", "enum": ["taken", "later", "never", "gone"]},
                "status": nullable(COUNT),
                "error": nullable(STRING),
            },
            "What the target made of it; `status` is null if it did not answer.",
        ),
        "DeadLetter": _all(_LETTER, "A message that was given up: a range of a session's log."),
        "DeadLetterList": _all(
            {"dead_letters": many(ref("DeadLetter")), "total": COUNT}, "The oldest first."
        ),
        "Redelivered": _all(
            {"delivered": COUNT, "failed": COUNT, "gone": COUNT, "error": nullable(STRING)},
            "What became of them; the first that fails ends it. Of `gone` no event is left.",
        ),
        "Discarded": _all({"discarded": COUNT}, "How many were forgotten."),
    }
)
