"""The nodes that share a store: for who operates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .authorisation import check_operator
from .call import reply
from .encoding import fields
from .operations import Operation, Parameter
from .responses import answers
from .schemas import SESSION_ID

if TYPE_CHECKING:
    from starlette.responses import Response

    from .call import Call


async def get_nodes(call: Call) -> Response:
    """Nodes as the store knows them. Raises InvalidArgument for a store of one process."""
    check_operator(call.principal)
    return reply({"nodes": [fields(node) for node in await call.supervisor.nodes()]})


async def get_holder(call: Call) -> Response:
    """Which node has a session. Raises InvalidArgument for a store of one process."""
    check_operator(call.principal)
    holder = await call.supervisor.holder(call.query["session_id"])
    return reply({"holder": None if holder is None else fields(holder)})


NODE_OPERATIONS = (
    Operation(
        id="list_nodes",
        method="GET",
        path="/v1/nodes",
        summary="The nodes that share the store, this one included; 422 if they cannot.",
        tag="server",
        scope="admin",
        handler=get_nodes,
        answers=answers({200: "NodeList"}),
    ),
    Operation(
        id="get_session_holder",
        method="GET",
        path="/v1/nodes/holder",
        summary="The node that has a session; 422 if the store does not tell.",
        tag="server",
        scope="admin",
        handler=get_holder,
        parameters=(
            Parameter(
                name="session_id", schema=SESSION_ID, description="The session.", required=True
            ),
        ),
        answers=answers({200: "Holding"}),
    ),
)
