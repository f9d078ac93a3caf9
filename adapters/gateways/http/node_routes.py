"""The nodes that share a store: for who operates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .authorisation import check_operator
from .call import reply
from .encoding import fields
from .operations import Operation
from .responses import answers

if TYPE_CHECKING:
    from starlette.responses import Response

    from .call import Call


async def get_nodes(call: Call) -> Response:
    """Nodes as the store knows them. Raises InvalidArgument for a store of one process."""
    check_operator(call.principal)
    return reply({"nodes": [fields(node) for node in await call.supervisor.nodes()]})


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
)
