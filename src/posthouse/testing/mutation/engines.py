"""What stands in the place of a safeguard of the engines: PostgreSQL, and Redis or Valkey."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

from posthouse.cache.engines.redis.nodes import _READ
from posthouse.kit.tasks import start
from posthouse.protocol.codes import Code
from posthouse.storage.base import Refused
from posthouse.storage.engines.postgres.errors import InDoubt
from posthouse.storage.engines.postgres.session import Session
from posthouse.storage.engines.postgres.writer import _Operation
from posthouse.valkey.link import LinkLimits
from posthouse.valkey.script import Script

RELEASE_WHOSEVER = Script("""
redis.call('HSET', KEYS[1], 'holder', '', 'until', '0')
return 1
""")
"""A lease is given up by its name."""

ANNOUNCE_WHOSEVER = Script(
    _READ
    + """
local line = string.format('%s %d %d', ARGV[2], now, now + ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], line)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return 1
"""
)
"""The register takes whatever comes under a name, and says that all is well."""

NEWEST_NUMBER = "SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1)::text::xid8"
"""The feed ends at the last number that was given, whoever has it."""


def without_lock(sql: str) -> str:
    """A statement that locks nothing, and so changes nothing."""
    return sql.replace("FOR UPDATE", "")


def of_any_reign(sql: str) -> str:
    """A replica is believed under whatever primary it was."""
    return sql.replace("meta.reign = $8", "$8::text IS NOT NULL")


def without_client_ids(sql: str) -> str:
    """What moves is numbered, and not known by what its senders called it."""
    return sql.replace("client_id", "seq::text AS client_id")


def with_nothing_lost(sql: str) -> str:
    """Whatever was acknowledged passes for being there."""
    return sql.replace(
        "CASE WHEN $1::xid8 = '0'::xid8 THEN false", "CASE WHEN $1::xid8 IS NOT NULL THEN false"
    )


def up_to_its_own_head(complete_entries: Any) -> Any:
    """A replica shows the newest that it knows of, whatever the primary says."""

    async def entries(session: Session, wanted: Any, reign: str) -> Any:
        head = await session.connection.fetchval(
            "SELECT head FROM log WHERE app = $1 AND conv = $2", wanted.app, wanted.conv
        )
        last = max(span.last for span in wanted.spans)
        spans = [span._replace(last=head) if span.last == last else span for span in wanted.spans]
        return await complete_entries(session, wanted._replace(spans=spans), reign)

    return entries


_background: list[asyncio.Task[Any]] = []
"""Kept, lest the garbage collector end them."""


def commit_some_time(commit: Any) -> Any:
    """COMMIT is on its way, and that is taken for enough."""

    async def committed(session: Session) -> None:
        _background.append(start(commit(session)))

    return committed


def take_for_done(commit: Any) -> Any:
    """A COMMIT that failed was asked for, and that is taken for enough."""

    async def committed(session: Session) -> None:
        with suppress(InDoubt):
            await commit(session)

    return committed


async def work_in_the_callers_own_task(writer: Any, work: Any, opening: str = "") -> Any:
    """Who cancels the caller cancels the COMMIT."""
    return await writer._settle(partial(Session.transact, work=work, opening=opening), _Operation())


def hope_at_the_deadline(run: Any) -> Any:
    """When patience has ended, what the transaction would answer is answered."""

    async def answered(writer: Any, work: Any, opening: str = "") -> Any:
        hoped: list[Any] = []

        async def noted(connection: Any) -> Any:
            hoped.append(await work(connection))
            return hoped[-1]

        try:
            return await run(writer, noted, opening)
        except InDoubt:
            if not hoped:
                raise
            return hoped[-1]

    return answered


async def refuse_all(database: Any, batch: Any, is_wanted: Any) -> list[Refused]:
    """Which one has spoilt the batch is not looked for."""
    return [Refused(Code.INVALID_REQUEST, "the database does not take this batch")] * len(batch)


def take_for_whole(note: Any) -> Any:
    """A set of routes counts as it stands, also without the marker that says it is all there."""

    def noted(found: Any, places: Any, gateway: str, reply: Any) -> Any:
        return note(found, places, gateway, reply if isinstance(reply, Exception) else [1, *reply[1:]])

    return noted


def queue_without_end(call: Any) -> Any:
    """Nothing is too much to wait for a server."""

    def called(link: Any, commands: Any) -> Any:
        link._limits = LinkLimits(in_flight_bytes_max=1 << 60)
        return call(link, commands)

    return called
