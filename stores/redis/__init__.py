"""Sessions in a Redis server, for any number of processes, by leases (extra ``redis``).

``scripts`` has what happens on the server, each step atomic, in Lua; ``server`` calls it and tells
failures apart; ``store`` claims and writes, ``reading`` reads, ``watch`` brings news and ``inbox``
commands to sessions of other processes.
"""

from .reading import RedisReader
from .server import RedisServer
from .store import RedisStatistics, RedisStore

__all__ = ["RedisReader", "RedisServer", "RedisStatistics", "RedisStore"]
