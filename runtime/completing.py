"""Commands, completed with what only the worker of their session knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from . import commands
from .arguments import merged_metadata

if TYPE_CHECKING:
    from .machine import SessionMachine
    from .slots import Slots


def completed(command: commands.Command, machine: SessionMachine, slots: Slots) -> commands.Command:
    """What the machine is to decide on. Raises RecordTooLarge for metadata that grew too large."""
    if isinstance(command, commands.Steer):
        return attrs.evolve(command, steerable=slots.steerable(command.run_id))
    if isinstance(command, commands.OpenSession) and command.metadata_update is not None:
        before = machine.image.metadata if command.metadata is None else command.metadata
        return attrs.evolve(
            command,
            metadata=merged_metadata(before, command.metadata_update),
            metadata_update=None,
        )
    return command
