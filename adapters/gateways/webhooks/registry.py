"""What a webhook is: which events of which sessions go where, and with which secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks.webhook.signing import key_of
from moorage.runtime.errors import InvalidArgument
from moorage.runtime.identifiers import check_name, check_session_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from moorage.runtime import SessionInfo

TYPES_MAX = 100
TAGS_MAX = 64
SECRETS_MAX = 4
"""At once: the newest, and those that it is taking the place of."""
DESCRIPTION_BYTES_MAX = 1_024
CURSOR_PREFIX = "webhook/"
"""Of the names of cursors that are moved by webhooks alone."""


@attrs.frozen
class StoredSecret:
    """A secret, and when it ends to be used; None is never."""

    secret: str = attrs.field(repr=False)
    expires_at_ns: int | None = None


@attrs.frozen(kw_only=True)
class Webhook:
    """One webhook.

    It has the events of one session, ``session_id``, or of all whose ids begin with ``prefix`` and
    that have these ``tags``; of these ``types``, or all; that were recorded at ``since_ns`` or
    later. ``tenant`` is the prefix of whoever registered it: tenants see their own only.
    ``disabled_reason`` is None while it is enabled.
    """

    id: str
    url: str
    secrets: tuple[StoredSecret, ...]
    created_at_ns: int
    tenant: str = ""
    session_id: str | None = None
    prefix: str = ""
    tags: dict[str, str] = attrs.field(factory=dict)
    types: tuple[str, ...] | None = None
    since_ns: int = 0
    description: str = ""
    disabled_reason: str | None = None

    @property
    def enabled(self) -> bool:
        return self.disabled_reason is None

    @property
    def cursor(self) -> str:
        """The name of its cursor in each session: what it stands behind was taken."""
        return f"{CURSOR_PREFIX}{self.id}"

    @property
    def offered_cursor(self) -> str:
        """The name of the cursor that is moved before a message is posted, to its end. So a message
        that was on its way in a crash is made of the same events again, and has the same id."""
        return f"{CURSOR_PREFIX}{self.id}/offered"

    def matches(self, info: SessionInfo) -> bool:
        """Whether it has events of this session."""
        if self.session_id is not None and info.id != self.session_id:
            return False
        if not info.id.startswith(self.prefix) or not info.id.startswith(self.tenant):
            return False
        return all(info.tags.get(name) == value for name, value in self.tags.items())

    def keys(self, now_ns: int) -> list[str]:
        """The secrets to sign with, the newest first."""
        return [
            stored.secret
            for stored in self.secrets
            if stored.expires_at_ns is None or now_ns < stored.expires_at_ns
        ]

    def rotated(self, secret: str, *, now_ns: int, keep_seconds: float) -> Webhook:
        """With another secret, beside which the old ones are used for so long still."""
        key_of(secret)
        until_ns = now_ns + int(keep_seconds * 1_000_000_000)
        old = [
            StoredSecret(stored.secret, min(until_ns, stored.expires_at_ns or until_ns))
            for stored in self.secrets
            if stored.expires_at_ns is None or now_ns < stored.expires_at_ns
        ]
        kept = old[: SECRETS_MAX - 1] if keep_seconds > 0 else []
        return attrs.evolve(self, secrets=(StoredSecret(secret), *kept))


def check_webhook(webhook: Webhook) -> Webhook:
    """The webhook if all of it makes sense; its url is for AddressRules to check. Raises
    InvalidArgument."""
    if webhook.session_id is not None:
        check_session_id(webhook.session_id)
        if webhook.prefix or webhook.tags:
            raise InvalidArgument("a webhook has session_id, or else prefix and tags, not both")
    if webhook.prefix:
        check_session_id(webhook.prefix)
    _check_names("tag", [*webhook.tags, *(value for value in webhook.tags.values() if value)])
    if len(webhook.tags) > TAGS_MAX:
        raise InvalidArgument(f"{len(webhook.tags)} tags are given and the limit is {TAGS_MAX}")
    if webhook.types is not None:
        _check_names("type", webhook.types)
        if not 0 < len(webhook.types) <= TYPES_MAX:
            raise InvalidArgument(
                f"{len(webhook.types)} types are given, 1 to {TYPES_MAX} are possible: leave them "
                "out for all"
            )
    if len(webhook.description.encode()) > DESCRIPTION_BYTES_MAX:
        raise InvalidArgument(f"description is longer than {DESCRIPTION_BYTES_MAX} bytes")
    for stored in webhook.secrets:
        key_of(stored.secret)
    return webhook


def _check_names(what: str, names: Collection[str]) -> None:
    for name in names:
        check_name(what, name)


def webhook_to_stored(webhook: Webhook) -> dict[str, Any]:
    """As the file has it, secrets and all."""
    return attrs.asdict(webhook)


def webhook_from_stored(stored: Mapping[str, Any]) -> Webhook:
    """What ``webhook_to_stored`` was given. Raises TypeError, KeyError and InvalidArgument."""
    types = stored.get("types")
    return check_webhook(
        Webhook(
            **{
                **stored,
                "secrets": tuple(StoredSecret(**secret) for secret in stored["secrets"]),
                "types": None if types is None else tuple(types),
            }
        )
    )


def webhook_to_json(webhook: Webhook) -> dict[str, Any]:
    """As it is told: without its secrets, of which only the times are."""
    told = attrs.asdict(webhook)
    del told["secrets"], told["tenant"]
    told["types"] = None if webhook.types is None else list(webhook.types)
    told["enabled"] = webhook.enabled
    told["secrets"] = [{"expires_at_ns": stored.expires_at_ns} for stored in webhook.secrets]
    return told
