"""Durable Streams, the open protocol, over sessions.

A raw stream is a session without runs whose appends are events (``states``, ``registry``); any
other session is read as a stream of its events. ``routes`` speaks the protocol's HTTP.
"""
