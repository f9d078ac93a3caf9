"""The store that a command works on, and how to name it again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from .frame import perform
from .key_file import encrypted
from .remote import Server
from .signals import until_signalled
from .store_spec import Spec, parse_spec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from moorage.runtime.ports import Store


@attrs.frozen
class StoreChoice:
    """``--data DIR`` or ``--store SPEC``, and ``--keys FILE``; one of ``data`` and ``spec`` is not
    None. ``is_remembered`` says that ``spec`` came from the environment."""

    data: Path | None
    spec: str | None = attrs.field(default=None, repr=False)
    keys: Path | None = None
    is_remembered: bool = False

    def parsed(self) -> Spec:
        """Raises CommandFailed for what names no store."""
        if self.spec is not None:
            return parse_spec(self.spec)
        return Spec("journal", str(self.data), {}, str(self.data))

    def existing(self) -> Store:
        """The store, which must be there already; nothing is opened or created yet.

        Raises CommandFailed.
        """
        return encrypted(self.parsed().load(must_exist=True), self.keys)

    def new_or_existing(self) -> Store:
        """The store, which is made when it is opened for writing. Raises CommandFailed."""
        return encrypted(self.parsed().load(must_exist=False), self.keys)

    @property
    def told(self) -> str:
        """As it was given, without a password."""
        return str(self.data) if self.data is not None else self.parsed().shown

    @property
    def shown(self) -> str:
        """Where it is, from any directory; never with a password."""
        return str(self.data.absolute()) if self.data is not None else self.parsed().shown

    @property
    def arguments(self) -> list[str]:
        """What to give a command so that it works on this store, from any directory. A password
        is replaced; where the environment names the store, it is left to that."""
        keys = [] if self.keys is None else ["--keys", str(self.keys.absolute())]
        if self.data is not None:
            return ["--data", str(self.data.absolute()), *keys]
        spec = self.parsed()
        if spec.path is not None:
            return ["--store", spec.absolute_text, *keys]
        return keys if self.is_remembered else ["--store", spec.shown, *keys]


def perform_on(
    choice: StoreChoice | Server,
    command: Callable[[Any], Awaitable[int | None]],
    *,
    long: bool = False,
) -> None:
    """Perform a command on a store that must be there, or on a server. A ``long`` one ends in
    order when a signal comes, and must not block the event loop. Raises typer.Exit."""

    async def body() -> int | None:
        source = choice if isinstance(choice, Server) else choice.existing()
        return await command(source)

    perform(partial(until_signalled, body) if long else body)
