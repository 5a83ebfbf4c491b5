"""What keeps G4: no silent loss."""

from posthouse.storage.visible import Span
from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

_AUDIENCE = "tests/gateway/test_audience.py"
_CORE = "tests/client/test_core.py"
_COVERAGE = "tests/messaging/test_coverage.py"
_FAILOVER = "tests/storage/engines/postgres/test_failover.py"
_FANOUT = "tests/messaging/test_fanout.py"
_LOSING = "tests/cache/engines/redis/test_losing.py"
_MOVING = "tests/storage/engines/postgres/test_moving.py"
_PUBLISH = "tests/messaging/test_publish.py"
_REPAIR = "tests/messaging/test_repair.py"
_SQLITE_CONTRACT = "tests/storage/engines/test_sqlite_contract.py"
_STORE = "tests/client/test_store.py"

SAFEGUARDS = (
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
        (f"{_AUDIENCE}::test_hints_that_were_lost_during_an_outage_are_made_up_for_by_looking_again",),
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
        (f"{_PUBLISH}::test_what_is_posted_while_a_message_is_under_way_follows_it_in_order",),
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
        (f"{_COVERAGE}::test_a_round_that_is_missing_is_noticed",),
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
        (f"{_REPAIR}::test_a_database_that_is_away_for_a_while_makes_repair_late_not_forgetful",),
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
        ("tests/storage/engines/postgres/test_feed.py::test_an_entry_that_commits_late_is_not_skipped",),
    ),
    Safeguard(
        "sync-up-to-where-the-room-is",
        "G4",
        "what a room delivers while a session's sync reads falls between the two",
        {"posthouse.messaging.fanout:Room.admit": instead.admit_at_the_log_s_head},
        (
            f"{_FANOUT}::test_a_session_that_enters_receives_nothing_before_its_sync_and_then_only_what_lies_beyond",
        ),
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
        "hear-from-where-the-membership-begins",
        "G4",
        "who came back while they were let in hears of their absence, or is removed by the earlier leaving",
        {"posthouse.messaging.fanout:Room.belong": Wrapped(instead.since_ever)},
        (f"{_AUDIENCE}::test_who_came_back_between_two_questions_hears_nothing_of_the_time_away",),
    ),
    Safeguard(
        "nobody-hears-of-before-their-entrance",
        "G4",
        "who joins is sent what was said before",
        {"posthouse.messaging.fanout:Room.recipients": lambda room, seq: room.sessions},
        (
            f"{_FANOUT}::test_a_session_that_enters_receives_nothing_before_its_sync_and_then_only_what_lies_beyond",
        ),
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
        (f"{_SQLITE_CONTRACT}::TestSqlite::test_an_account_log_is_the_servers_to_write",),
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
        ("tests/storage/engines/postgres/test_moving_hazards.py::test_the_old_database_takes_no_write",),
    ),
    Safeguard(
        "verify-after-reading",
        "G4",
        "a node with the old map reads what has long changed elsewhere",
        {"posthouse.storage.engines.postgres.ownership:Ownership.verify": instead.nothing},
        ("tests/storage/engines/postgres/test_moving_hazards.py::test_the_old_database_answers_no_read",),
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
        (f"{_MOVING}::test_everything_of_a_shard_is_the_same_after_a_move",),
    ),
    Safeguard(
        "count-only-what-counts",
        "G4",
        "a joining counts as an unread message",
        {"posthouse.storage.append:COUNTING_KINDS": instead.Everything()},
        (f"{_SQLITE_CONTRACT}::TestSqlite::test_members_stay_members_and_unread_still_counts",),
    ),
    Safeguard(
        "start-afresh-in-another-epoch",
        "G4",
        "positions in a log that went back in time are resumed from",
        {"posthouse.gateway.entrance:Entrance._check_resume": Wrapped(instead.resume_in_any_epoch)},
        ("tests/security/test_stolen.py::test_of_an_old_epoch_it_resets",),
    ),
    Safeguard(
        "start-afresh-beyond-the-log",
        "G4",
        "a client whose position lies beyond its log waits there for ever",
        {"posthouse.gateway.entrance:_beyond": lambda positions, heads: False},
        ("tests/service/test_resuming.py::test_positions_beyond_the_log_reset",),
    ),
    Safeguard(
        "routes-first-sync-second",
        "G4",
        "what is committed between the reading of heads and the routes is told by nobody",
        {"posthouse.gateway.audience:Audience.follow": instead.read_heads_first},
        ("tests/gateway/test_entrance.py::test_a_hint_lost_meanwhile_is_made_up_for",),
    ),
    Safeguard(
        "place-readers-where-entries-are",
        "G4",
        "a reader of the feed stands at a number that a successor gives again",
        {"posthouse.storage.engines.postgres.feed:_END": engines.NEWEST_NUMBER},
        (f"{_FAILOVER}::test_a_reader_of_the_feed_skips_nothing_where_a_successor_gives_numbers_again",),
    ),
    Safeguard(
        "list-again-what-the-list-missed",
        "G4",
        "a conversation that became active while the list was read is never delivered",
        {"posthouse.client.sync:Sync._seek": lambda *_: None},
        (f"{_CORE}::test_a_conversation_that_the_list_has_missed_is_found_by_listing_again",),
    ),
    Safeguard(
        "keep-the-place-in-what-was-left",
        "G4",
        "an application that stops before it has read the end of what was left never gets it",
        {"posthouse.client.sync:Sync._part": Wrapped(instead.forget_the_place)},
        (f"{_STORE}::test_what_was_not_read_of_a_conversation_that_was_left_comes_after_the_restart",),
    ),
    Safeguard(
        "tell-of-a-leaving-after-the-last-entry",
        "G4",
        "an application that stops after the news of a leaving loses what was still missing",
        {"posthouse.client.sync:Sync._part": instead.tell_of_a_leaving_at_once},
        (f"{_STORE}::test_what_was_missing_of_a_conversation_that_was_left_comes_before_that_it_was",),
    ),
    Safeguard(
        "lost-routes-mean-everything",
        "G4",
        "a gateway whose routes a wiped cache has lost is taken to follow nothing",
        {"posthouse.cache.engines.redis.routes:_note": Wrapped(engines.take_for_whole)},
        (
            f"{_LOSING}::test_after_a_wipe_a_gateway_counts_as_following_everything_until_it_has_put_its_routes_back",
        ),
    ),
    Safeguard(
        "tell-the-own-gateway-by-a-call",
        "G4",
        "those who are connected to the same node wait for the cache and the bus",
        {
            "posthouse.messaging.publish:Publisher.post": lambda publisher, notes: publisher._waiting.extend(
                notes
            )
        },
        (f"{_PUBLISH}::test_the_own_gateway_hears_at_once_and_needs_neither_cache_nor_bus",),
    ),
    Safeguard(
        "a-silent-cache-keeps-nobody-out",
        "G4",
        "nobody is let in while the cache is away",
        {"posthouse.gateway.registrar:CacheUnavailable": ZeroDivisionError},
        ("tests/gateway/test_registrar.py::test_a_silent_cache_keeps_nobody_out_and_leaves_a_doubt",),
    ),
)
