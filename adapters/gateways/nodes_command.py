"""What ``moorage nodes`` takes."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from functools import partial

import typer

from .chosen_source import chosen_source
from .chosen_store import perform_on
from .nodes_listing import show_nodes
from .options import AsJson, KeyFile, StoreSpec
from .remote import Server, TokenFile, Url


def nodes(
    context: typer.Context,
    store: StoreSpec = None,
    keys: KeyFile = None,
    as_json: AsJson = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """List the nodes that share a store, read beside them, and sessions that none can serve.

    A server tells of the nodes alone: its token must be that of an admin of all sessions.
    """
    choice = chosen_source(context, None, store, keys, url, token_file)
    if not isinstance(choice, Server) and choice.data is not None:
        raise typer.BadParameter("name a store that nodes share", param_hint="--store")
    perform_on(choice, partial(show_nodes, as_json=as_json))
