"""The safeguards of G1 to G7: what each is for, how it is taken out, and who must notice."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from posthouse.messaging.fanout import Arrival
from posthouse.testing.mutation.breaking import Patches, Wrapped
from posthouse.testing.simulation.database import Change, Database


class Safeguard(NamedTuple):
    """`tests` names the tests that notice, as pytest does (`file::name`); without any, the simulation does."""

    name: str
    promise: str
    prevents: str
    patches: Patches
    tests: Sequence[str] = ()


async def _for_ever(*_: object) -> None:
    await asyncio.Event().wait()


async def _nothing(*_: object, **__: object) -> None:
    pass


async def _show_first_and_write_later(database: Database, change: Change) -> None:
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


def _deliver_whatever_comes(room: Any, seq: int) -> Arrival:
    if room.head is not None and seq <= room.head:
        return Arrival.OLD
    room.head = seq
    return Arrival.DELIVER


SAFEGUARDS = (
    Safeguard(
        "acknowledge-after-commit",
        "G1",
        "a send is answered while its transaction is still under way",
        {"posthouse.testing.simulation.database:Database.commit": _show_first_and_write_later},
    ),
    Safeguard(
        "settle-what-is-in-doubt",
        "G1",
        "a commit whose synchronous wait was cut short is taken for done",
        {"posthouse.storage.engines.postgres.session:Session._hear": lambda *_: None},
        ("tests/storage/engines/postgres/test_commit.py",),
    ),
    Safeguard(
        "find-repeated-sends",
        "G2",
        "a send that is repeated after a lost ack is written twice",
        {"posthouse.storage.append:_repeat": lambda known, digest: None},
    ),
    Safeguard(
        "compare-what-is-repeated",
        "G2",
        "other content under the same name passes for a repeated send",
        {"posthouse.storage.append:content_digest": lambda append: bytes(16)},
        ("tests/storage/engines/test_sqlite_contract.py",),
    ),
    Safeguard(
        "send-again-what-was-not-answered",
        "G2",
        "what was in flight when a connection broke is never sent again",
        {"posthouse.client.outbox:Outbox.lose_connection": lambda outbox: setattr(outbox, "_open", False)},
    ),
    Safeguard(
        "hold-back-after-a-refusal",
        "G3",
        "a later send overtakes one that was refused for now",
        {
            "posthouse.messaging.lane:Lane.admits": lambda *_: True,
            "posthouse.messaging.lane:Lane.enter": Wrapped(lambda enter: lambda *a: enter(*a) or 1),
        },
        ("tests/messaging/test_lane.py",),
    ),
    Safeguard(
        "deliver-only-what-is-next",
        "G4",
        "a room delivers whatever comes, over a gap",
        {
            "posthouse.messaging.fanout:Room.arrive": _deliver_whatever_comes,
            "posthouse.client.timeline:Timelines.hold": lambda *_: None,
        },
    ),
    Safeguard(
        "fetch-what-is-missing",
        "G4",
        "a client that is told how far a log goes does not ask for what it lacks",
        {"posthouse.client.timeline:Timelines.note_head": lambda *_: None},
    ),
    Safeguard(
        "name-what-a-resume-lacks",
        "G4",
        "a resume that missed something is told that it missed nothing",
        {"posthouse.gateway.entrance:_changed": lambda positions, heads: {}},
    ),
    Safeguard(
        "tell-heads-from-the-feed",
        "G4",
        "a lost hint is never made good",
        {"posthouse.messaging.repair:Repair.run": _for_ever},
    ),
    Safeguard(
        "ask-the-feed-while-hints-are-lost",
        "G4",
        "messages wait for the cache to come back",
        {"posthouse.messaging.polling:Poller.run": _for_ever},
        ("tests/messaging/test_polling.py",),
    ),
    Safeguard(
        "look-again-after-an-outage",
        "G4",
        "what was published while a subscription or a route was lost stays unnoticed",
        {"posthouse.gateway.audience:Audience.recheck": _nothing},
        ("tests/gateway/test_audience.py",),
    ),
    Safeguard(
        "unknown-is-not-nobody",
        "G4",
        "with the cache gone, gateways are taken to have no recipients",
        {
            "posthouse.messaging.publish:_chosen": lambda peers, gateways: [
                p for p in peers if p in (gateways or ())
            ]
        },
        ("tests/messaging/test_publish.py",),
    ),
    Safeguard(
        "follow-memberships",
        "G4",
        "a new member's account log never hears of the joining",
        {"posthouse.messaging.readers:Roster.run": _for_ever},
    ),
    Safeguard(
        "ask-only-up-to-an-acknowledged-head",
        "G5",
        "a replica shows what was never acknowledged",
        {"posthouse.storage.engines.postgres.replicas:is_complete": lambda *_: True},
        ("tests/storage/engines/postgres/test_replicas.py",),
    ),
    Safeguard(
        "slow-readers-are-disconnected",
        "G7",
        "a client that never reads fills the server's memory",
        {"posthouse.gateway.websocket:Socket.pause_writing": lambda socket: None},
        ("tests/gateway/test_websocket.py",),
    ),
    Safeguard(
        "queues-are-bounded",
        "G7",
        "sends pile up without end while the database is away",
        {"posthouse.messaging.commit:CommitLimits.queue_sends_max": 1 << 60},
        ("tests/messaging/test_commit.py",),
    ),
)


def named(name: str) -> Safeguard:
    """The safeguard called `name`. Raises `KeyError`."""
    return {safeguard.name: safeguard for safeguard in SAFEGUARDS}[name]
