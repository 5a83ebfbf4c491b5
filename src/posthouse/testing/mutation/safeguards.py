"""The safeguards of G1 to G7: what each is for, how it is taken out, and who must notice."""

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from posthouse.storage.visible import Span
from posthouse.testing.mutation import instead
from posthouse.testing.mutation.breaking import Patches, Wrapped


class Safeguard(NamedTuple):
    """`tests` names the tests that notice, as pytest does (`file::name`); without any, the simulation does."""

    name: str
    promise: str
    prevents: str
    patches: Patches
    tests: Sequence[str] = ()


SAFEGUARDS = (
    Safeguard(
        "acknowledge-after-commit",
        "G1",
        "a send is answered while its transaction is still under way",
        {"posthouse.testing.simulation.database:Database.commit": instead.show_first_and_write_later},
    ),
    Safeguard(
        "settle-what-is-in-doubt",
        "G1",
        "a commit whose synchronous wait was cut short is taken for done",
        {"posthouse.storage.engines.postgres.session:Session._hear": lambda *_: None},
        ("tests/storage/engines/postgres/test_commit.py",),
    ),
    Safeguard(
        "answer-only-after-the-commit",
        "G1",
        "a node answers while the transaction is still in flight",
        {"posthouse.messaging.commit:GroupCommit._land": instead.land_without_shield},
        ("tests/messaging/test_commit.py::test_nothing_is_answered_while_the_commit_is_in_flight",),
    ),
    Safeguard(
        "sync-each-commit",
        "G1",
        "SQLite commits without waiting for the disk, and a power cut takes it back",
        {"posthouse.storage.engines.sqlite.connection:SYNCHRONOUS": "OFF"},
        ("tests/storage/engines/sqlite/test_power.py",),
    ),
    Safeguard(
        "wait-for-the-standby",
        "G1",
        "a role's own settings make commits asynchronous",
        {
            "posthouse.storage.engines.postgres.database:WRITER_SETTINGS": Wrapped(
                lambda all_: {key: value for key, value in all_.items() if key != "synchronous_commit"}
            )
        },
        ("tests/storage/engines/postgres/test_commit.py::test_settings_of_the_role_do_not_weaken_a_commit",),
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
        "answer-repeats-before-membership",
        "G2",
        "who is removed meanwhile never learns that their send is in the log",
        {"posthouse.storage.append:_decide": Wrapped(instead.check_membership_first)},
        ("tests/storage/engines/test_sqlite_contract.py",),
    ),
    Safeguard(
        "refuse-what-is-too-old",
        "G2",
        "a send older than the window is written a second time",
        {"posthouse.storage.append:REPEAT_WINDOW_MS": 1 << 60},
        ("tests/storage/engines/test_sqlite_contract.py",),
    ),
    Safeguard(
        "store-before-sending",
        "G2",
        "an application that is killed loses what it was told is safe",
        {"posthouse.client.store:Store.put": instead.take_for_stored},
    ),
    Safeguard(
        "look-for-repeats-after-the-lock",
        "G2",
        "two nodes that are sent the same at once both find nothing",
        {"posthouse.storage.engines.postgres.appending:_lock": Wrapped(instead.read_without_lock)},
        (
            "tests/storage/engines/postgres/test_contract.py",
            "tests/storage/engines/postgres/test_appending.py",
        ),
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
        "lock-in-one-order",
        "G3",
        "batches over the same logs wait for each other for ever",
        {"posthouse.storage.append:needs": Wrapped(instead.without_order)},
        ("tests/storage/test_append.py::test_logs_are_locked_in_one_order_however_the_batch_is_ordered",),
    ),
    Safeguard(
        "one-way-at-a-time",
        "G3",
        "sends overtake each other while their shard moves",
        {"posthouse.messaging.commits:Commits.submit": instead.by_the_map_of_now},
    ),
    Safeguard(
        "halve-a-batch-that-fails",
        "G3",
        "one bad send takes all those of its batch along",
        {"posthouse.storage.engines.sqlite.appending:append": Wrapped(instead.all_or_nothing)},
        ("tests/storage/engines/sqlite/test_faults.py",),
    ),
    Safeguard(
        "deliver-only-what-is-next",
        "G3",
        "a room delivers whatever comes, over a gap",
        {
            "posthouse.messaging.fanout:Room.arrive": instead.deliver_whatever_comes,
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
        {"posthouse.messaging.repair:Repair.run": instead.for_ever},
    ),
    Safeguard(
        "ask-the-feed-while-hints-are-lost",
        "G4",
        "messages wait for the cache to come back",
        {"posthouse.messaging.polling:Poller.run": instead.for_ever},
    ),
    Safeguard(
        "look-again-after-an-outage",
        "G4",
        "what was published while a subscription or a route was lost stays unnoticed",
        {"posthouse.gateway.audience:Audience.recheck": instead.nothing},
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
        {"posthouse.messaging.readers:Roster.run": instead.for_ever},
    ),
    Safeguard(
        "notice-what-repair-told-in-vain",
        "G4",
        "a bus that loses hint and heads without a word leaves a room behind",
        {"posthouse.messaging.coverage:Coverage.hear": instead.hear_any},
    ),
    Safeguard(
        "notice-that-repair-is-silent",
        "G4",
        "a bus that delivers nothing, and says nothing, is trusted",
        {"posthouse.messaging.coverage:Coverage.run": instead.for_ever},
    ),
    Safeguard(
        "go-on-where-repair-was",
        "G4",
        "what was committed between two nodes' repairs is told by neither",
        {"posthouse.messaging.repair:Repair._begin": lambda repair: repair._feed.end()},
        ("tests/messaging/test_repair.py",),
    ),
    Safeguard(
        "repair-waits-for-no-other-repair",
        "G4",
        "with two databases nobody repairs any more after an outage of the cache",
        {"posthouse.messaging.hearing:Hearing.trusted_but_for": lambda hearing, kind: hearing.trusted},
    ),
    Safeguard(
        "skip-nothing-that-commits-late",
        "G4",
        "a reader of the feed passes over a transaction that is still under way",
        {
            "posthouse.storage.engines.postgres.feed:_TAIL_ALL": Wrapped(
                lambda sql: sql.replace("xid < pg_snapshot_xmin(pg_current_snapshot())", "true")
            )
        },
        ("tests/storage/engines/postgres/test_feed.py",),
    ),
    Safeguard(
        "sync-up-to-where-the-room-is",
        "G4",
        "what a room delivers while a session's sync reads falls between the two",
        {"posthouse.messaging.fanout:Room.admit": instead.admit_at_the_log_s_head},
        ("tests/messaging/test_fanout.py",),
    ),
    Safeguard(
        "fetch-since-the-joining",
        "G4",
        "what was said between a joining and its news is never fetched",
        {"posthouse.client.sync:INTEGER_MAX": 0},
    ),
    Safeguard(
        "fetch-up-to-the-leaving",
        "G4",
        "what was said before a leaving that happened while away is never fetched",
        {
            "posthouse.client.timeline:Timelines.pursue_ends": lambda timelines: None,
            "posthouse.client.timeline:Timelines.end": instead.forget_at_once,
        },
    ),
    Safeguard(
        "leave-the-room-after-the-last-entry",
        "G4",
        "who was removed goes on hearing what is said",
        {"posthouse.gateway.audience:Audience._remove": lambda *_: None},
    ),
    Safeguard(
        "nobody-hears-of-before-their-entrance",
        "G4",
        "who joins is sent what was said before",
        {"posthouse.messaging.fanout:Room.recipients": lambda room, seq: room.sessions},
        ("tests/messaging/test_fanout.py",),
    ),
    Safeguard(
        "read-only-what-is-theirs",
        "G4",
        "a reader sees what was said before they joined or after they left",
        {
            "posthouse.storage.visible:spans_of": lambda intervals, history, head, first_seq: [
                Span(first_seq, head)
            ]
        },
    ),
    Safeguard(
        "write-only-as-a-member",
        "G4",
        "who was removed still writes, through a node that does not know",
        {"posthouse.storage.append:_may_not_send": lambda *_: None},
        ("tests/storage/engines/test_sqlite_contract.py",),
    ),
    Safeguard(
        "learn-where-a-shard-has-gone",
        "G4",
        "a node with the old map goes on asking the old database",
        {"posthouse.cluster.databases:Databases.reload": instead.nothing},
    ),
    Safeguard(
        "refuse-writes-to-a-shard-that-left",
        "G4",
        "a node with the old map writes where nobody reads any more",
        {"posthouse.storage.engines.postgres.appending:_load": Wrapped(instead.own_everything)},
        ("tests/storage/engines/postgres/test_moving_hazards.py",),
    ),
    Safeguard(
        "verify-after-reading",
        "G4",
        "a node with the old map reads what has long changed elsewhere",
        {"posthouse.storage.engines.postgres.ownership:Ownership.verify": instead.nothing},
        ("tests/storage/engines/postgres/test_moving_hazards.py",),
    ),
    Safeguard(
        "what-arrives-counts-as-read",
        "G4",
        "everybody is notified again of what a shard brings along",
        {
            "posthouse.storage.engines.postgres.copying:_PUT_ENTRIES": Wrapped(
                lambda sql: sql.replace(", xid, number) SELECT *, '0'::xid8, 0", ") SELECT *")
            )
        },
        ("tests/storage/engines/postgres/test_moving.py",),
    ),
    Safeguard(
        "count-only-what-counts",
        "G4",
        "a joining counts as an unread message",
        {"posthouse.storage.append:COUNTING_KINDS": instead.Everything()},
        ("tests/storage/engines/test_sqlite_contract.py",),
    ),
    Safeguard(
        "ask-only-up-to-an-acknowledged-head",
        "G1",
        "a replica shows what was never acknowledged",
        {"posthouse.storage.engines.postgres.replicas:is_complete": lambda *_: True},
        ("tests/storage/engines/postgres/test_replicas.py",),
    ),
    Safeguard(
        "the-device-says-what-is-newer",
        "G5",
        "a node whose clock is ahead ends the session that is in use, for good",
        {"posthouse.gateway.session:INTEGER_MAX": 0},
        ("tests/gateway/test_devices.py",),
    ),
    Safeguard(
        "leave-a-silent-server",
        "G5",
        "a client stays with a server that is frozen",
        {"posthouse.client.connection:Pace.answer_s": 1e9},
    ),
    Safeguard(
        "give-back-only-ones-own-lease",
        "G5",
        "a thawed node takes away what is another's by now",
        {"posthouse.cache.engines.memory:MemoryLeases.release": instead.release_whosever},
        ("tests/cache/engines/test_memory.py",),
    ),
    Safeguard(
        "a-lease-ends-by-ones-own-clock",
        "G5",
        "a frozen holder believes that it still has its lease",
        {"posthouse.cluster.lease:HOLD_S": inf},
        ("tests/cluster/test_lease.py",),
    ),
    Safeguard(
        "silence-of-the-cache-is-no-absence",
        "G5",
        "a wiped register takes every node for gone",
        {"posthouse.cluster.snapshot:_missing": lambda before, now: instead.gone(before)},
        ("tests/cluster/test_snapshot.py",),
    ),
    Safeguard(
        "believe-the-newest-timeline",
        "G5",
        "a primary that was replaced while it was frozen is written to",
        {"posthouse.storage.engines.postgres.hosts:_timeline": lambda state: 1},
        ("tests/storage/engines/postgres/test_hosts.py",),
    ),
    Safeguard(
        "readiness-beside-the-others",
        "G5",
        "one dead database makes every node unready",
        {"posthouse.health.readiness:_blocks": lambda part, parts, fresh: part.failed},
        ("tests/health/test_readiness.py",),
    ),
    Safeguard(
        "distrust-ones-own-verdicts",
        "G5",
        "a node that was frozen takes all others for dead",
        {"posthouse.health.detector:NAP_S": inf},
        ("tests/health/test_detector.py",),
    ),
    Safeguard(
        "remember-endpoints-of-old",
        "G5",
        "a client knows only the address that has just died",
        {"posthouse.client.route:Route.learn": Wrapped(instead.forget_former)},
        ("tests/client/test_route.py",),
    ),
    Safeguard(
        "who-was-superseded-is-told",
        "G5",
        "two processes of one name both serve clients",
        {"posthouse.cache.engines.memory:MemoryNodes.announce": Wrapped(instead.announce_whosever)},
        ("tests/cluster/test_membership.py",),
    ),
    Safeguard(
        "read-again-who-is-blocked",
        "G5",
        "a node that missed the news goes on serving who was blocked",
        {"posthouse.gateway.blocklist:Blocklist.refresh": instead.for_ever},
        ("tests/gateway/test_blocklist.py",),
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
    Safeguard(
        "inflate-within-bounds",
        "G7",
        "a few bytes inflate to all the memory there is",
        {
            "posthouse.gateway.wire:inflate": Wrapped(
                lambda inflate: lambda payload, bytes_max: inflate(payload, 1 << 40)
            )
        },
        ("tests/gateway/test_deflate.py",),
    ),
    Safeguard(
        "shed-what-waits-for-the-bus",
        "G7",
        "what cannot be published piles up without end",
        {"posthouse.messaging.publish:WAITING_BYTES_MAX": 1 << 60},
        ("tests/messaging/test_publish.py",),
    ),
    Safeguard(
        "owe-only-so-much",
        "G7",
        "what gateways could not be told piles up without end",
        {"posthouse.messaging.repair:_count": lambda heads: 0},
        ("tests/messaging/test_repair.py",),
    ),
    Safeguard(
        "early-entries-are-few",
        "G7",
        "a client keeps every entry that comes before its turn",
        {"posthouse.client.timeline:HELD_ENTRIES_MAX": 1 << 60},
        ("tests/client/test_timeline.py",),
    ),
    Safeguard(
        "the-outbox-is-bounded",
        "G7",
        "an application that posts for ever fills its own memory",
        {
            "posthouse.client.outbox:Outbox.reserve": lambda outbox: setattr(
                outbox, "reserved", outbox.reserved + 1
            )
        },
        ("tests/client/test_outbox.py",),
    ),
    Safeguard(
        "count-receipts-of-large-groups",
        "G7",
        "each receipt in a large group goes to everybody",
        {"posthouse.messaging.receipts:SHOWN_MEMBERS_MAX": 1 << 60},
        ("tests/messaging/test_receipts.py",),
    ),
)


def named(name: str) -> Safeguard:
    """The safeguard called `name`. Raises `KeyError`."""
    return {safeguard.name: safeguard for safeguard in SAFEGUARDS}[name]
