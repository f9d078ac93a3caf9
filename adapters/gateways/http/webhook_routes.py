"""Webhooks: register, list, change, try, and what became of messages that were not taken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.gateways.webhooks.dispatcher import check_target
from moorage.adapters.gateways.webhooks.registry import webhook_to_json
from moorage.adapters.sinks.webhook import new_secret
from moorage.runtime.errors import AdmissionClosed

from .authorisation import visible_prefix
from .call import reply
from .operations import Operation, Parameter
from .problems import OutsideTenant, UnknownWebhook, WebhooksOff
from .responses import answers
from .schemas import record, seconds, whole
from .webhook_schemas import (
    CHANGED_WEBHOOK,
    KEEP_SECONDS_MAX,
    LETTER_IDS,
    LETTERS_MAX,
    NEW_WEBHOOK,
    REDELIVERED_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from moorage.adapters.gateways.webhooks import Webhook, WebhookDispatcher
    from moorage.adapters.gateways.webhooks.dead_letters import DeadLetter
    from starlette.responses import Response

    from .call import Call

KEEP_SECONDS = 86_400
LISTED_LETTERS = 100
BY_HAND = "disabled by hand"


def _dispatcher(call: Call) -> WebhookDispatcher:
    if call.state.webhooks is None:
        raise WebhooksOff
    return call.state.webhooks


async def _found(call: Call) -> Webhook:
    """The webhook in the path. Raises UnknownWebhook, also for one of another tenant."""
    dispatcher, id = _dispatcher(call), call.path["webhook_id"]
    webhook: Webhook | None = await dispatcher.in_thread(dispatcher.file.find, id)
    if webhook is None or not webhook.tenant.startswith(call.principal.prefix):
        raise UnknownWebhook(id)
    return webhook


async def _told(call: Call, webhook: Webhook) -> dict[str, Any]:
    dispatcher = _dispatcher(call)
    letters = await dispatcher.in_thread(dispatcher.file.dead_letters(webhook.id).letters)
    status = dispatcher.facts(webhook.id) | {"dead_letters": len(letters)}
    return {**webhook_to_json(webhook), "status": status}


async def create(call: Call) -> Response:
    """Register one, for the sessions that the client may see of those that it names."""
    body, dispatcher = call.body, _dispatcher(call)
    call.state.check_admission()
    principal, now_ns = call.principal, call.state.time_ns()
    wanted = body.get("session_id", body.get("prefix", ""))
    # a prefix that is shorter than the tenant's own means all that it may see
    prefix = visible_prefix(principal, wanted)
    if prefix is None or ("session_id" in body and prefix != wanted):
        raise OutsideTenant(prefix=principal.prefix)
    add = partial(
        dispatcher.file.add,
        check_target(dispatcher.poster, body["url"]),
        created_at_ns=now_ns,
        tenant=principal.prefix,
        session_id=body.get("session_id"),
        # one that names both is for the registry to refuse
        prefix=body.get("prefix", "") if "session_id" in body else prefix,
        tags=dict(body.get("tags", {})),
        types=tuple(body["types"]) if "types" in body else None,
        since_ns=0 if body.get("start") == "beginning" else now_ns,
        description=body.get("description", ""),
    )
    webhook, secret = await dispatcher.in_thread(add)
    call.subject.webhook_id = webhook.id
    dispatcher.poke()
    return reply({**await _told(call, webhook), "secret": secret}, 201)


async def get_all(call: Call) -> Response:
    dispatcher = _dispatcher(call)
    webhooks = await dispatcher.in_thread(dispatcher.file.webhooks)
    visible = [it for it in webhooks if it.tenant.startswith(call.principal.prefix)]
    return reply({"webhooks": [await _told(call, webhook) for webhook in visible]})


async def get(call: Call) -> Response:
    return reply(await _told(call, await _found(call)))


async def _change(call: Call, change: Callable[[Webhook], Webhook]) -> Webhook:
    dispatcher = _dispatcher(call)
    webhook = await _found(call)
    changed: Webhook | None = await dispatcher.in_thread(dispatcher.file.change, webhook.id, change)
    if changed is None:
        raise UnknownWebhook(webhook.id)
    dispatcher.poke()
    return changed


async def change(call: Call) -> Response:
    """Change what is given."""
    body = dict(call.body)
    if "url" in body:
        check_target(_dispatcher(call).poster, body["url"])
    if body.get("types") is not None:
        body["types"] = tuple(body["types"])
    enabled = body.pop("enabled", None)
    if enabled is not None:
        body["disabled_reason"] = None if enabled else BY_HAND
    changed = await _change(call, lambda webhook: attrs.evolve(webhook, **body))
    return reply(await _told(call, changed))


async def rotate(call: Call) -> Response:
    secret = new_secret()
    rotated = partial(
        _rotated,
        secret=secret,
        now_ns=call.state.time_ns(),
        keep_seconds=call.body.get("keep_seconds", KEEP_SECONDS),
    )
    await _change(call, rotated)
    return reply({"secret": secret})


def _rotated(webhook: Webhook, **options: Any) -> Webhook:
    return webhook.rotated(options.pop("secret"), **options)


async def delete(call: Call) -> Response:
    dispatcher, webhook = _dispatcher(call), await _found(call)
    removed = await dispatcher.in_thread(dispatcher.file.remove, webhook.id)
    dispatcher.forget(webhook.id)
    return reply({"changed": removed})


async def ping(call: Call) -> Response:
    posted = await _dispatcher(call).ping(await _found(call))
    return reply({"verdict": posted.verdict, "status": posted.status, "error": posted.error})


async def _letters(call: Call) -> tuple[Webhook, list[DeadLetter]]:
    """The webhook, and those of its dead letters that the request is about."""
    dispatcher, webhook = _dispatcher(call), await _found(call)
    letters: list[DeadLetter] = await dispatcher.in_thread(
        dispatcher.file.dead_letters(webhook.id).letters
    )
    if "ids" in call.body:
        wanted = set(call.body["ids"])
        letters = [letter for letter in letters if letter.id in wanted]
    return webhook, letters


async def get_letters(call: Call) -> Response:
    _, letters = await _letters(call)
    listed = letters[: call.query.get("limit", LISTED_LETTERS)]
    told = [attrs.asdict(letter) for letter in listed]
    return reply({"dead_letters": told, "total": len(letters)})


async def redeliver(call: Call) -> Response:
    dispatcher = _dispatcher(call)
    webhook, letters = await _letters(call)
    chosen = letters[: call.body.get("limit", REDELIVERED_MAX)]
    done = await call.while_wanted(partial(dispatcher.redeliver, webhook, chosen))
    if done is None:
        raise AdmissionClosed("the server", reason="draining")
    return reply(attrs.asdict(done))


async def discard(call: Call) -> Response:
    dispatcher = _dispatcher(call)
    webhook, letters = await _letters(call)
    remove = dispatcher.file.dead_letters(webhook.id).remove
    discarded = await dispatcher.in_thread(remove, {letter.id for letter in letters})
    return reply({"discarded": discarded})


_TAG = "webhooks"
_PATH = "/v1/webhooks/{webhook_id}"
_CHOSEN = {"ids": LETTER_IDS | {"description": "Only these; without, all."}}

WEBHOOK_OPERATIONS = (
    Operation(
        id="create_webhook",
        method="POST",
        path="/v1/webhooks",
        summary="Have events posted to a URL, signed; answers with the secret, this once.",
        tag=_TAG,
        scope="admin",
        handler=create,
        body=NEW_WEBHOOK,
        answers=answers({201: "NewWebhook"}),
    ),
    Operation(
        id="list_webhooks",
        method="GET",
        path="/v1/webhooks",
        summary="All webhooks, and how they are doing.",
        tag=_TAG,
        scope="admin",
        handler=get_all,
        answers=answers({200: "WebhookList"}),
    ),
    Operation(
        id="get_webhook",
        method="GET",
        path=_PATH,
        summary="One webhook, and how it is doing.",
        tag=_TAG,
        scope="admin",
        handler=get,
        answers=answers({200: "Webhook"}),
    ),
    Operation(
        id="change_webhook",
        method="PATCH",
        path=_PATH,
        summary="Change where it posts, which types, or whether; what is omitted stays.",
        tag=_TAG,
        scope="admin",
        handler=change,
        body=CHANGED_WEBHOOK,
        answers=answers({200: "Webhook"}),
    ),
    Operation(
        id="delete_webhook",
        method="DELETE",
        path=_PATH,
        summary="Post nothing more, and forget it with its dead letters.",
        tag=_TAG,
        scope="admin",
        handler=delete,
        answers=answers({200: "Changed"}),
    ),
    Operation(
        id="rotate_webhook_secret",
        method="POST",
        path=f"{_PATH}/rotate-secret",
        summary="Sign with a new secret, and for a while with the old ones too.",
        tag=_TAG,
        scope="admin",
        handler=rotate,
        body=record(
            {"keep_seconds": seconds("A day, unless given.", maximum=KEEP_SECONDS_MAX)},
        ),
        body_required=False,
        answers=answers({200: "WebhookSecret"}),
    ),
    Operation(
        id="test_webhook",
        method="POST",
        path=f"{_PATH}/test",
        summary="Post a message without events, once, and tell what came of it.",
        tag=_TAG,
        scope="admin",
        handler=ping,
        answers=answers({200: "Posted"}),
    ),
    Operation(
        id="list_dead_letters",
        method="GET",
        path=f"{_PATH}/dead-letters",
        summary="Messages that were given up, the oldest first.",
        tag=_TAG,
        scope="admin",
        handler=get_letters,
        parameters=(
            Parameter(
                name="limit",
                schema=whole(minimum=1, maximum=LETTERS_MAX),
                description="At most so many.",
            ),
        ),
        answers=answers({200: "DeadLetterList"}),
    ),
    Operation(
        id="redeliver_dead_letters",
        method="POST",
        path=f"{_PATH}/dead-letters/redeliver",
        summary="Post them once more, with the ids that they had.",
        tag=_TAG,
        scope="admin",
        handler=redeliver,
        body=record(_CHOSEN | {"limit": whole(minimum=1, maximum=REDELIVERED_MAX)}),
        body_required=False,
        answers=answers({200: "Redelivered"}),
    ),
    Operation(
        id="discard_dead_letters",
        method="POST",
        path=f"{_PATH}/dead-letters/discard",
        summary="Forget them; their events stay in the log.",
        tag=_TAG,
        scope="admin",
        handler=discard,
        body=record(_CHOSEN),
        body_required=False,
        answers=answers({200: "Discarded"}),
    ),
)
