"""What an application says about its users."""

from collections.abc import Sequence

import msgspec

from posthouse.storage.base import Moved, User
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.keys import possible_only
from posthouse.storage.engines.postgres.ownership import guard, note

_PUT = """
INSERT INTO user_record (app, user_id, shard, name, avatar, properties, blocked, updated_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
ON CONFLICT (app, user_id) DO UPDATE SET name = excluded.name, avatar = excluded.avatar,
    properties = excluded.properties, blocked = excluded.blocked, updated_ms = excluded.updated_ms
RETURNING updated_ms
"""
_USERS = """
SELECT user_id, name, avatar, properties, blocked, updated_ms
FROM user_record WHERE app = $1 AND user_id = ANY($2::text[])
"""
# Not what is being copied here or has been left behind: its owner knows better.
_BLOCKED = """
SELECT user_id FROM user_record WHERE app = $1 AND blocked AND NOT EXISTS (
    SELECT FROM shard WHERE shard.shard = user_record.shard AND database <> (SELECT name FROM meta)
) ORDER BY user_id
"""


async def put_user(connection: Connection, app: str, user: User, shard: int) -> User:
    """As `Directory.put_user` says, inside a transaction that has locked the user's shard."""
    elsewhere, noted = await guard(connection, [shard])
    if elsewhere:
        raise Moved(f"shard {shard} is written elsewhere now")
    said = (user.name, user.avatar, bytes(user.properties), user.blocked)
    updated_ms = await connection.fetchval(_PUT, app, user.user, shard, *said)
    if noted:
        await note(connection, [(shard, app, "", user.user)])
    return msgspec.structs.replace(user, updated_ms=updated_ms)


async def users(connection: Connection, app: str, wanted: Sequence[str]) -> list[User]:
    """As `Directory.users` says."""
    return [
        User(
            user=user,
            name=name,
            avatar=avatar,
            properties=msgspec.Raw(properties),
            blocked=blocked,
            updated_ms=updated_ms,
        )
        for user, name, avatar, properties, blocked, updated_ms in await connection.fetch(
            _USERS, app, possible_only(wanted)
        )
    ]


async def blocked(connection: Connection, app: str) -> list[str]:
    """As `Directory.blocked` says."""
    return [user for (user,) in await connection.fetch(_BLOCKED, app)]
