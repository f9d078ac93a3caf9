"""Gateways: how the outside reaches a supervisor. Only they compose runtime, stores and adapters.

The command line needs the extra ``cli``; it is imported by nothing else.
"""
