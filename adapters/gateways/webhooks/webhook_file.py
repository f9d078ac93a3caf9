"""Webhooks in a file of this user alone: their secrets are in it, for one signs with them."""

from __future__ import annotations

import json
import secrets as random_bytes
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from moorage.adapters.sinks.webhook import new_secret
from moorage.runtime.errors import InvalidArgument

from .dead_letters import DeadLetters
from .limits import WebhookLimits
from .locked_file import locked, replace, take
from .registry import StoredSecret, Webhook, check_webhook, webhook_from_stored, webhook_to_stored

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

VERSION = 1


class WebhookFile:
    """Webhooks in a file (mode 0600), with the dead letters of each in a directory beside it.

    Several processes may use it. Constructing it does no I/O. Every method does, without waiting
    for long, and raises OSError, and InvalidArgument for a file that others may read or that is not
    one of ours.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, limits: WebhookLimits | None = None
    ) -> None:
        self.path = Path(path)
        self.limits = limits or WebhookLimits()

    def webhooks(self) -> list[Webhook]:
        """All of them, the oldest first; none if there is no file."""
        return self._read()

    def find(self, id: str) -> Webhook | None:
        """The webhook with this id."""
        return next((webhook for webhook in self._read() if webhook.id == id), None)

    def add(self, url: str, *, created_at_ns: int, **fields: Any) -> tuple[Webhook, str]:
        """Register one with a new id; returns it and its secret, which is told this once. The
        fields are those of Webhook. Raises InvalidArgument."""
        secret = new_secret()
        webhook = check_webhook(
            Webhook(
                id=f"whk_{random_bytes.token_hex(8)}",
                url=url,
                secrets=(StoredSecret(secret),),
                created_at_ns=created_at_ns,
                **fields,
            )
        )

        def append(webhooks: list[Webhook]) -> None:
            self._check_room(webhooks, webhook.tenant)
            webhooks.append(webhook)

        self._change(append)
        return webhook, secret

    def change(self, id: str, change: Callable[[Webhook], Webhook]) -> Webhook | None:
        """Replace one by what ``change`` makes of it; None if there is none. Raises what it
        raises, and InvalidArgument."""
        changed: list[Webhook] = []

        def evolve(webhooks: list[Webhook]) -> None:
            for index, webhook in enumerate(webhooks):
                if webhook.id == id:
                    webhooks[index] = check_webhook(change(webhook))
                    changed.append(webhooks[index])

        self._change(evolve)
        return changed[0] if changed else None

    def disable(self, webhook: Webhook, reason: str) -> None:
        """Have nothing posted any more, until it is enabled, unless it was changed meanwhile."""
        self.change(
            webhook.id,
            lambda now: attrs.evolve(now, disabled_reason=reason) if now == webhook else now,
        )

    def remove(self, id: str) -> bool:
        """Forget one and its dead letters. True if there was one."""
        found: list[Webhook] = []

        def take_out(webhooks: list[Webhook]) -> None:
            found.extend(webhook for webhook in webhooks if webhook.id == id)
            webhooks[:] = [webhook for webhook in webhooks if webhook.id != id]

        self._change(take_out)
        if found:
            self.dead_letters(id).clear()
        return bool(found)

    def dead_letters(self, id: str) -> DeadLetters:
        """Those of one webhook."""
        folder = self.path.with_name(f"{self.path.name}.dead-letters")
        return DeadLetters(folder / f"{id}.jsonl", lambda: self.find(id) is not None)

    def take_delivery(self) -> int | None:
        """Become the one process that delivers, until the descriptor that is returned is closed;
        None while another one is it."""
        return take(self.path, "delivering")

    def stamp(self) -> tuple[int, int, int]:
        """Another one after each change."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return 0, 0, 0
        return status.st_mtime_ns, status.st_size, status.st_ino

    # ---- the file ----

    def _check_room(self, webhooks: list[Webhook], tenant: str) -> None:
        """For one more of this tenant. Its limit comes first: what others have is not told it."""
        own = [it for it in webhooks if it.tenant == tenant] if tenant else []
        for count, name in (
            (len(own), "webhooks_per_tenant_max"),
            (len(webhooks), "webhooks_max"),
        ):
            limit: int = getattr(self.limits, name)
            if count >= limit:
                raise InvalidArgument(
                    f"there are {count} webhooks and the limit is {limit} ({name}): "
                    "remove some first"
                )

    def _change(self, change: Callable[[list[Webhook]], None]) -> None:
        with locked(self.path):
            webhooks = self._read()
            change(webhooks)
            content = {
                "version": VERSION,
                "webhooks": [webhook_to_stored(webhook) for webhook in webhooks],
            }
            replace(self.path, json.dumps(content, indent=1))

    def _read(self) -> list[Webhook]:
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
        except FileNotFoundError:
            return []
        if mode & 0o077:
            raise InvalidArgument(
                f"{self.path} may be read by others (mode {mode:o}): chmod 600 {self.path}"
            )
        try:
            return _parse(json.loads(self.path.read_bytes()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidArgument(f"{self.path} is no file of webhooks: {error}") from error


def _parse(content: Any) -> list[Webhook]:
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r} and this release knows {VERSION}")
    stored: Sequence[dict[str, Any]] = content["webhooks"]
    return [webhook_from_stored(webhook) for webhook in stored]
