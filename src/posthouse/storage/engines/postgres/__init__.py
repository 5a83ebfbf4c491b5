"""PostgreSQL 14 or newer, on asyncpg: the engine of a cluster. `engine.PostgresDatabase` is the way in."""
