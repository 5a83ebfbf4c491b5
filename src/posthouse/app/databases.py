"""From the configuration to the engines of the databases: the place that names them."""

import random
from pathlib import Path

from posthouse.app.config.values import Config, Database as Place
from posthouse.kit.clock import Clock
from posthouse.storage.base import Database

FILE = "posthouse.sqlite"
MAIN = "main"
"""The name of a database that has none of its own, and keeps this one when others come beside it."""


def databases(config: Config, clock: Clock) -> dict[str, Database]:
    """The databases that `config` names, not yet open. Only their own driver is imported: start-up is counted."""
    if not config.databases and config.database.url == "sqlite":
        from posthouse.storage.engines.sqlite.database import SqliteDatabase

        return {MAIN: SqliteDatabase(Path(config.data.folder) / FILE, clock)}
    places = config.databases or {MAIN: config.database}
    return {name: _postgres(name, place, clock, alone=len(places) == 1) for name, place in places.items()}


def _postgres(name: str, place: Place, clock: Clock, *, alone: bool) -> Database:
    from posthouse.storage.engines.postgres.database import PostgresDatabase, PostgresLimits

    return PostgresDatabase(
        place.url,
        clock,
        PostgresLimits(readers_max=place.connections_max),
        replicas=place.replicas,
        replica_policy=place.replica_policy,
        uniform=random.random,
        name=name,
        alone=alone,
    )
