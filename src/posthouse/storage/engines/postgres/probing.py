"""What is asked of a database to learn how it is: which server processes are alive, and whether a write commits."""

from posthouse.storage.engines.postgres.connection import Connection

Backend = tuple[int, str]
"""A server process: its id and when it began, so that another with the same id is not taken for it."""

_BACKENDS = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE usename = current_user"
_PROBE = "UPDATE meta SET probed_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


async def live_backends(connection: Connection) -> set[Backend]:
    """The server's processes that serve our user's connections."""
    return {(pid, began) for pid, began in await connection.fetch(_BACKENDS)}


async def write_probe(connection: Connection) -> None:
    """Write a row, inside a transaction."""
    await connection.execute(_PROBE)
