"""Amp's command line as an agent; the program comes from its maker and needs no extra."""

from .agent import AmpAgent

__all__ = ["AmpAgent"]
