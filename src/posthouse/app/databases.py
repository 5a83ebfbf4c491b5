"""From the configuration to an engine: the place that names them."""

import random
from pathlib import Path

from posthouse.app.config.values import Config
from posthouse.kit.clock import Clock
from posthouse.storage.base import Database

FILE = "posthouse.sqlite"


def database(config: Config, clock: Clock) -> Database:
    """The database that `config` names, not yet open. Only its own driver is imported: that is what start-up costs."""
    if config.database.url == "sqlite":
        from posthouse.storage.engines.sqlite.database import SqliteDatabase

        return SqliteDatabase(Path(config.data.folder) / FILE, clock)
    from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits

    return PostgresDatabase(
        config.database.url,
        clock,
        PostgresLimits(readers_max=config.database.connections_max),
        replicas=config.database.replicas,
        replica_policy=config.database.replica_policy,
        uniform=random.random,
    )
