"""What ``moorage nodes`` takes."""

# No `from __future__ import annotations`: typer reads the annotations when it is called.
from functools import partial

import typer

from .chosen_store import perform_on
from .nodes_listing import show_nodes
from .options import AsJson, KeyFile, StoreSpec, chosen_store


def nodes(
    context: typer.Context,
    store: StoreSpec = None,
    keys: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the nodes that share a store, read beside them, and sessions that none can serve."""
    choice = chosen_store(context, None, store, keys)
    if choice.data is not None:
        raise typer.BadParameter("name a store that nodes share", param_hint="--store")
    perform_on(choice, partial(show_nodes, as_json=as_json))
