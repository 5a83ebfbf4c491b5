"""What an application says about its users."""

from collections.abc import Sequence

import apsw
import msgspec

from posthouse.model.ids import account_id, shard_of
from posthouse.storage.base import User
from posthouse.storage.engines.sqlite.transaction import writing

_PUT = """INSERT INTO user (app, user, shard, name, avatar, properties, blocked, updated_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET name = excluded.name, avatar = excluded.avatar, properties = excluded.properties,
        blocked = excluded.blocked, updated_ms = excluded.updated_ms"""
_USERS = """SELECT user, name, avatar, properties, blocked, updated_ms FROM user
    WHERE app = ? AND user IN (SELECT value FROM json_each(?))"""
_BLOCKED = "SELECT user FROM user WHERE app = ? AND blocked ORDER BY user"


def put_user(connection: apsw.Connection, app: str, user: User, now_ms: int, shards: int) -> User:
    """As `Directory.put_user` says."""
    stored = msgspec.structs.replace(user, updated_ms=now_ms)
    shard = shard_of(app, account_id(user.user), shards)
    said = (user.name, user.avatar, bytes(user.properties), user.blocked, now_ms)
    with writing(connection):
        connection.execute(_PUT, (app, user.user, shard, *said))
    return stored


def users(connection: apsw.Connection, app: str, wanted: Sequence[str]) -> list[User]:
    """As `Directory.users` says."""
    found = connection.execute(_USERS, (app, msgspec.json.encode(list(wanted)).decode()))
    return [
        User(
            user=user,
            name=name,
            avatar=avatar,
            properties=msgspec.Raw(properties),
            blocked=bool(blocked),
            updated_ms=updated_ms,
        )
        for user, name, avatar, properties, blocked, updated_ms in found
    ]


def blocked(connection: apsw.Connection, app: str) -> list[str]:
    """As `Directory.blocked` says."""
    return [user for (user,) in connection.execute(_BLOCKED, (app,))]
