"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, base64, behind ``v1,``.

A secret is ``whsec_`` and base64 of 24 to 64 random bytes. While a secret is being exchanged for
another a message carries a signature by each, and one that fits is enough.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as random_bytes
import time
from typing import TYPE_CHECKING

from moorage.runtime.errors import InvalidArgument, MoorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
SECRET_BYTES_MIN = 24
SECRET_BYTES_MAX = 64
TOLERANCE_SECONDS = 300.0
SIGNATURES_MAX = 20
"""Of one message that a receiver looks at."""


class SignatureRefused(MoorageError):
    """A message that was not signed with one of the secrets, or not lately."""

    code = "signature_refused"


def new_secret() -> str:
    """A secret of 256 random bits."""
    return SECRET_PREFIX + base64.b64encode(random_bytes.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises InvalidArgument, which does not tell the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise InvalidArgument(
            f"a secret must be {SECRET_PREFIX} and base64 of {SECRET_BYTES_MIN} to "
            f"{SECRET_BYTES_MAX} bytes; this one is {len(secret)} characters that are not: make "
            "one with new_secret()"
        )
    return key


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature, like ``v1,K5oZ...``; ``timestamp`` is in seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signed_headers(
    secrets: Iterable[str], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """The three headers of a message, with a signature by each secret."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            sign(secret, message_id, timestamp, body) for secret in secrets
        ),
    }


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Iterable[str],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> str:
    """Check what was received: the body as it came, byte for byte, and its headers. Returns the
    ``webhook-id``, which is the same each time the same message comes.

    Raises SignatureRefused for a message by somebody else, one that was changed, and one that is
    more than ``tolerance_seconds`` old (or new), as when it is sent again by who overheard it.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent_at = given["webhook-id"], given["webhook-timestamp"]
        signatures = given["webhook-signature"].split(" ")[:SIGNATURES_MAX]
    except KeyError as missing:
        raise SignatureRefused(f"there is no header {missing.args[0]}") from None
    if not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 16):
        raise SignatureRefused(f"webhook-timestamp is no time in seconds: {sent_at[:40]!r}")
    age = (time.time() if now is None else now) - int(sent_at)
    if abs(age) > tolerance_seconds:
        raise SignatureRefused(
            f"the message is {age:.0f} seconds old and {tolerance_seconds:g} are tolerated: look "
            "at the clocks of both machines"
        )
    known = [secrets] if isinstance(secrets, str) else list(secrets)
    expected = [sign(secret, message_id, int(sent_at), body).encode() for secret in known]
    # all are compared, however early one fits: how long it takes tells nothing
    fits = [
        hmac.compare_digest(signature.encode(), wanted)
        for signature in signatures
        for wanted in expected
    ]
    if not any(fits):
        raise SignatureRefused("none of the signatures fits: is it the right secret?")
    return message_id
