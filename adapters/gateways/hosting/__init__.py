"""A supervisor in a trio thread of its own, for hosts that are not trio: what the asyncio face and
the sync face have in common."""
