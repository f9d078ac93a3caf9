"""The coding agent pi as an agent of ours; the program comes from npm and needs no extra."""

from .agent import PiAgent

__all__ = ["PiAgent"]
