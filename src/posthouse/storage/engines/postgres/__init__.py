"""PostgreSQL 15 or newer, on asyncpg: the engine of a cluster. `database.PostgresDatabase` is the way in."""
