"""Sessions in a Postgres database that any number of processes share by leases."""

try:
    import psycopg as _psycopg  # noqa: F401
    import psycopg_pool as _psycopg_pool  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"PostgresStore needs a driver ({error}): pip install 'moorage[postgres]'"
    ) from error

from .migrations import MigrationReport
from .statistics import PostgresStatistics
from .store import PostgresStore

__all__ = ["MigrationReport", "PostgresStatistics", "PostgresStore"]
