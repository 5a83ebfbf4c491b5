"""What stands in the place of a safeguard that was taken out: code that looks right, and is wrong."""

import asyncio
import dataclasses
from typing import Any

from msgspec.structs import replace

from posthouse.client.events import ConversationLeft
from posthouse.cluster.snapshot import Presence
from posthouse.kit.tasks import start
from posthouse.messaging.fanout import Arrival
from posthouse.protocol.codes import Code
from posthouse.storage.base import Refused, StorageError
from posthouse.storage.changes import NOT_MEMBER
from posthouse.storage.rows import Needs
from posthouse.testing.simulation.database import Change, Database


async def for_ever(*_: object) -> None:
    """A loop that does nothing."""
    await asyncio.Event().wait()


async def nothing(*_: object, **__: object) -> None:
    """A step that is left out."""


async def show_first_and_write_later(database: Database, change: Change) -> None:
    """A database that does not sync: everybody sees what a crash takes back."""
    machine, life = database.machines[database.primary], database.machines[database.primary].host
    change(machine.tables)
    await database.clock.sleep(0.002)

    async def write() -> None:
        await database.clock.sleep(0.5)
        if life.alive:
            machine.wal.append(change)
            machine.applied += 1

    database.network.tasks.spawn("write later", write())


def deliver_whatever_comes(room: Any, seq: int) -> Arrival:
    """A room that does not mind a gap."""
    if room.head is not None and seq <= room.head:
        return Arrival.OLD
    room.head = seq
    return Arrival.DELIVER


def check_membership_first(decide: Any) -> Any:
    """Who has been removed meanwhile does not learn what became of their send."""

    def decided(draft: Any, append: Any) -> Any:
        stranger = draft.member((append.app, append.conv, append.sender)) is None
        return NOT_MEMBER if stranger and not append.trusted else decide(draft, append)

    return decided


def without_order(needs: Any) -> Any:
    """Locks are taken as the sends came."""

    def wanted(batch: Any) -> Needs:
        found = needs(batch)
        came = dict.fromkeys((append.app, append.conv) for append in batch)
        return Needs([key for key in came if key in found.logs], found.sends, found.members)

    return wanted


async def land_without_shield(commit: Any, batch: Any, task: Any) -> None:
    """A commit is over for its senders as soon as it has begun."""
    await asyncio.sleep(0)
    for pending in batch:
        pending.settle(pending.append, None)
    commit._note([], await task)


def admit_at_the_log_s_head(room: Any, session: Any, head: int) -> int:
    """What the room has delivered while a session's sync read is for nobody."""
    room.learn(head)
    room._forget(session)
    return head


def take_for_stored(store: Any, item: Any) -> None:
    """The application is told that its message is safe, and nothing is written."""
    store._on_stored([item], None)


def by_the_map_of_now(commits: Any, append: Any, settle: Any, *rest: Any) -> None:
    """A send goes where its log lies now, whatever is still under way elsewhere."""
    commits._commits[commits._owner(append.app, append.conv)].submit(append, settle, *rest)


def hear_any(coverage: Any, note: Any) -> None:
    """Whatever repair says it has told is taken for heard."""
    coverage._silent_at = coverage._clock.monotonic() + coverage.SILENT_S
    coverage._hearing.trust(coverage._source)


def read_without_lock(lock: Any) -> Any:
    """The logs as they are now, and nobody is kept from changing them."""

    async def read(connection: Any, keys: Any) -> Any:
        return await lock(_Unlocked(connection), keys)

    return read


class _Unlocked:
    """A connection whose queries lock nothing."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: Any) -> Any:
        return await self._connection.fetch(sql.replace("FOR UPDATE", ""), *values)


def all_or_nothing(append: Any) -> Any:
    """A batch of several that fails is not looked at more closely."""

    def appended(connection: Any, batch: Any, *rest: Any) -> Any:
        return (
            append(connection, batch[:1], *rest) * len(batch)
            if len(batch) > 1
            else append(connection, batch, *rest)
        )

    return appended


def own_everything(load: Any) -> Any:
    """Every shard passes for this database's own."""

    async def loaded(*values: Any) -> Any:
        return (await load(*values))._replace(elsewhere=set())

    return loaded


def forget_at_once(timelines: Any, log: str, last: int) -> bool:
    """A log that has ended is over, whatever is missing of it."""
    timelines.forget(log)
    return True


async def release_whosever(leases: Any, lease: Any) -> bool:
    """A lease is deleted by its name."""
    leases._leases.pop(lease.name, None)
    return True


def gone(view: Any) -> Any:
    """Who is not in the register is not there."""
    return replace(view, presence=Presence.GONE, why="it is not in the register")


class Everything:
    """Has whatever is looked for."""

    def __contains__(self, item: object) -> bool:
        return True


def forget_former(learn: Any) -> Any:
    """Only the newest list counts."""

    def learned(route: Any, *values: Any) -> None:
        learn(route, *values)
        route._former = ()

    return learned


def announce_whosever(announce: Any) -> Any:
    """The register takes whatever comes under a name, and says that all is well."""

    async def announced(nodes: Any, node: str, incarnation: int, report: bytes, ttl_s: float) -> bool:
        await announce(nodes, node, incarnation, report, ttl_s)
        return True

    return announced


def resume_in_any_epoch(check: Any) -> Any:
    """Positions of another epoch are taken for positions of this one."""

    def checked(entrance: Any, session: Any, resume: Any) -> Any:
        found = check(entrance, session, resume)
        return 0 if found == Code.EPOCH_CHANGED else found

    return checked


async def read_heads_first(audience: Any, app: str, user: str, sessions: Any, convs: Any, *_: Any) -> Any:
    """How far logs go is asked before anybody hears of them for these sessions."""
    heads = dict(await audience.heads.get(app, convs)) if convs else {}
    await audience._occupy(sessions, convs)
    for conv, head in heads.items():
        audience._learn(audience.rooms.get((app, conv)), head)
    return heads


def forget_the_place(part: Any) -> Any:
    """The place in a conversation is forgotten with the news that it was left."""

    def parted(sync: Any, body: Any, seq: int) -> Any:
        told = part(sync, body, seq)
        if told:
            sync._host.note(body.conv, None)
        return told

    return parted


def tell_of_a_leaving_at_once(sync: Any, body: Any, seq: int) -> bool:
    """The application hears that it has left before it has all that was said until then."""
    if not sync._host.emit(ConversationLeft(body.conv, body.left_seq, seq)):
        return False
    if sync.timelines.end(body.conv, body.left_seq):
        sync._forget(body.conv)
    return True


def nothing_where_unknown(heads: Any) -> Any:
    """A log that nobody can be asked about has no entries."""

    async def found(database: Any, app: str, convs: Any) -> Any:
        return {conv: head or 0 for conv, head in (await heads(database, app, convs)).items()}

    return found


def refuse_for_good(land: Any) -> Any:
    """A send whose outcome nobody knows is said not to be in the log, and never to be."""

    async def landed(commit: Any, batch: Any, task: Any) -> None:
        try:
            await asyncio.shield(task)
        except StorageError as error:
            commit._note(batch, [Refused(Code.INVALID_REQUEST, error.told)] * len(batch))
        else:
            await land(commit, batch, task)

    return landed


def take_every_connection(made: Any) -> Any:
    """There is always room for one more."""

    def taken(connection: Any, transport: Any) -> None:
        connections = connection._listener.connections
        connections.limits = dataclasses.replace(connections.limits, connections_max=1 << 60)
        made(connection, transport)

    return taken


_background: list[asyncio.Task[Any]] = []
"""Kept, lest the garbage collector end them."""


def write_each_at_once(submit: Any) -> Any:
    """A cursor waits for no others."""

    def submitted(receipts: Any, *values: Any) -> None:
        submit(receipts, *values)
        _background.append(start(receipts.flush()))

    return submitted


def wait_for_all(answered: Any) -> Any:
    """However long one takes."""

    async def patient(asked: Any, patience_s: Any) -> Any:
        return await answered(asked, None)

    return patient


def since_ever(belong: Any) -> Any:
    """Every membership has begun with the conversation."""
    return lambda room, session, joined_seq: belong(room, session, 1)
