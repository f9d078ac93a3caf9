"""All routes, composed in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conversation_routes import CONVERSATION_OPERATIONS
from .cursor_routes import CURSOR_OPERATIONS
from .durable_streams.routes import STREAM_OPERATIONS
from .event_routes import EVENT_OPERATIONS
from .node_routes import NODE_OPERATIONS
from .removal_routes import REMOVAL_OPERATIONS
from .run_routes import RUN_OPERATIONS
from .search_routes import SEARCH_OPERATIONS
from .server_routes import SERVER_OPERATIONS
from .session_routes import SESSION_OPERATIONS
from .telemetry_routes import TELEMETRY_OPERATIONS
from .webhook_routes import WEBHOOK_OPERATIONS

if TYPE_CHECKING:
    from .operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *RUN_OPERATIONS,
    *EVENT_OPERATIONS,
    *CURSOR_OPERATIONS,
    *SESSION_OPERATIONS,
    *REMOVAL_OPERATIONS,
    *CONVERSATION_OPERATIONS,
    *SEARCH_OPERATIONS,
    *STREAM_OPERATIONS,
    *SERVER_OPERATIONS,
    *TELEMETRY_OPERATIONS,
    *NODE_OPERATIONS,
    *WEBHOOK_OPERATIONS,
)
"""What the gateway offers; what is added here is routed, checked, authorised and documented."""
