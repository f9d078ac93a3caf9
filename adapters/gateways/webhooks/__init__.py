"""Webhooks of a server: registered by whoever runs it, delivered from named cursors.

``registry`` says what a webhook is, ``webhook_file`` keeps them, ``dispatcher`` finds sessions that
have something new, ``delivery`` decides what one webhook posts next, ``session_lane`` brings it one
session's events. Needs the extra ``webhooks``.
"""

from .dispatcher import WebhookDispatcher
from .limits import WebhookLimits
from .registry import Webhook
from .webhook_file import WebhookFile

__all__ = ["WebhookDispatcher", "WebhookLimits", "WebhookFile", "Webhook"]
