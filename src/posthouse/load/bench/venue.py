"""Where a benchmark takes place: a server in its own process, on the database that was asked for, its limits raised."""

import contextlib
from collections.abc import Iterator
from typing import Final

from posthouse.testing.postgres import LocalPostgres
from posthouse.testing.postgres_cluster import LocalPostgresCluster
from posthouse.testing.servers import LocalServer

SQLITE: Final = "sqlite"
CLUSTER: Final = "cluster"
"""A PostgreSQL primary of our own with a replica that must have each write before it is answered."""
POSTGRESQL: Final = "postgresql"
"""A PostgreSQL of our own, with its safe defaults; `postgresql://…` names another one, which must be empty."""

RAISED: Final = {
    "limits.connections_max": 19_000,
    "limits.entering_max": 20_000,
    "limits.logins_per_s": 100_000,
    "limits.logins_burst": 100_000,
    "limits.frames_per_connection_per_s": 100_000,
    "limits.frames_per_connection_burst": 100_000,
    "limits.sends_per_user_per_s": 100_000,
    "limits.sends_per_user_burst": 100_000,
    "limits.sends_per_app_per_s": 1_000_000,
    "limits.sends_per_app_burst": 1_000_000,
    "api.requests_per_app_per_s": 100_000,
    "api.requests_per_app_burst": 100_000,
    "log.level": "warning",
}
"""Limits that protect a service from its users would measure themselves here; those on memory stay as they are."""


@contextlib.contextmanager
def database_url(database: str) -> Iterator[str]:
    """The address of the database, started if it is to be our own."""
    if database == POSTGRESQL:
        with LocalPostgres() as server:
            yield server.create_database("bench")
    elif database == CLUSTER:
        with LocalPostgresCluster(replicas=1) as cluster:
            cluster.primary.create_database("bench")
            yield cluster.dsn("bench")
    else:
        yield database


@contextlib.contextmanager
def venue(database: str) -> Iterator[LocalServer]:
    """A server that is ready, killed and wiped at the end."""
    with database_url(database) as url, LocalServer(database=url, settings=RAISED) as server:
        yield server
