"""Webhooks: events as signed POST requests to where somebody else says, as safely as that can be.

``WebhookSink`` is the sink; ``verify`` is for whoever receives. Signatures are those of Standard
Webhooks (https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md).
Where requests may go is decided in ``addresses``, and held to in ``connecting``. Needs the extra
``webhooks``.
"""

from .addresses import AddressRefused, AddressRules
from .limits import PostLimits
from .signing import SignatureRefused, new_secret, sign, verify
from .webhook_sink import PostFailed, WebhookSink

__all__ = [
    "WebhookSink",
    "PostLimits",
    "PostFailed",
    "AddressRules",
    "AddressRefused",
    "new_secret",
    "sign",
    "verify",
    "SignatureRefused",
]
