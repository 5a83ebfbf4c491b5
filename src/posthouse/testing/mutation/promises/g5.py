"""What keeps G5: one fault costs a pause, not a message."""

from math import inf

from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

_DEVICES = "tests/gateway/test_devices.py"
_ENTRANCE = "tests/gateway/test_entrance.py"
_FAULTS = "tests/storage/engines/postgres/test_faults.py"
_MEMORY = "tests/cache/engines/test_memory.py"

SAFEGUARDS = (
    Safeguard(
        "the-device-says-what-is-newer",
        "G5",
        "a node whose clock is ahead ends the session that is in use, for good",
        {"posthouse.gateway.session:AHEAD_MS_MAX": -(1 << 60)},
        (f"{_DEVICES}::test_which_session_is_the_newer_says_the_device_whatever_the_nodes_clocks_say",),
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
        (f"{_MEMORY}::TestMemoryLeases::test_a_lease_given_back_is_free_at_once_under_a_higher_epoch",),
    ),
    Safeguard(
        "a-lease-ends-by-ones-own-clock",
        "G5",
        "a frozen holder believes that it still has its lease",
        {"posthouse.cluster.lease:HOLD_S": inf},
        ("tests/cluster/test_lease.py::test_a_silent_cache_ends_a_claim_before_another_can_have_it",),
    ),
    Safeguard(
        "silence-of-the-cache-is-no-absence",
        "G5",
        "a wiped register takes every node for gone",
        {"posthouse.cluster.snapshot:_missing": lambda before, now: instead.gone(before)},
        ("tests/cluster/test_snapshot.py::test_a_wiped_register_takes_nobody_away_at_once",),
    ),
    Safeguard(
        "believe-the-newest-timeline",
        "G5",
        "a primary that was replaced while it was frozen is written to",
        {"posthouse.storage.engines.postgres.hosts:_timeline": lambda state: 1},
        ("tests/storage/engines/postgres/test_hosts.py::test_who_is_the_primary",),
    ),
    Safeguard(
        "readiness-beside-the-others",
        "G5",
        "one dead database makes every node unready",
        {"posthouse.health.readiness:_blocks": lambda part, parts, fresh: part.failed},
        ("tests/health/test_readiness.py::test_a_database_that_nobody_reaches_takes_no_node_out",),
    ),
    Safeguard(
        "distrust-ones-own-verdicts",
        "G5",
        "a node that was frozen takes all others for dead",
        {"posthouse.health.detector:NAP_S": inf},
        ("tests/health/test_detector.py::test_a_node_that_was_frozen_does_not_take_the_others_for_dead",),
    ),
    Safeguard(
        "remember-endpoints-of-old",
        "G5",
        "a client knows only the address that has just died",
        {"posthouse.client.route:Route.learn": Wrapped(instead.forget_former)},
        ("tests/client/test_route.py::test_what_a_newer_list_leaves_out_is_tried_last_and_still_asked",),
    ),
    Safeguard(
        "who-was-superseded-is-told",
        "G5",
        "two processes of one name both serve clients",
        {"posthouse.cache.engines.memory:MemoryNodes.announce": Wrapped(instead.announce_whosever)},
        ("tests/cluster/test_membership.py::test_a_superseded_node_announces_nothing_any_more",),
    ),
    Safeguard(
        "read-again-who-is-blocked",
        "G5",
        "a node that missed the news goes on serving who was blocked",
        {"posthouse.gateway.blocklist:Blocklist.refresh": instead.for_ever},
        ("tests/gateway/test_blocklist.py::test_a_missed_block_ends_the_user_s_sessions_a_little_later",),
    ),
    Safeguard(
        "give-back-only-ones-own-lease-on-redis",
        "G5",
        "a thawed node takes away what is another's by now, on Redis and Valkey",
        {"posthouse.cache.engines.redis.leases:_RELEASE": engines.RELEASE_WHOSEVER},
        (
            "tests/cache/engines/redis/test_contracts.py::TestRedisLeases::test_only_exactly_the_lease_that_is_held_is_given_back",
        ),
    ),
    Safeguard(
        "who-was-superseded-is-told-on-redis",
        "G5",
        "two processes of one name both serve clients, on Redis and Valkey",
        {"posthouse.cache.engines.redis.nodes:_ANNOUNCE": engines.ANNOUNCE_WHOSEVER},
        (
            "tests/cache/engines/redis/test_contracts.py::TestRedisNodes::test_a_newer_start_of_a_node_takes_over_and_the_older_one_is_told",
        ),
    ),
    Safeguard(
        "end-the-transaction-of-who-froze",
        "G5",
        "a node that froze with rows locked keeps all others from writing there",
        {
            "posthouse.storage.engines.postgres.session:WRITER_SETTINGS": Wrapped(
                lambda all_: {**all_, "idle_in_transaction_session_timeout": "0"}
            )
        },
        (f"{_FAULTS}::test_a_node_that_freezes_with_rows_locked_holds_up_the_others_for_seconds_only",),
    ),
    Safeguard(
        "ask-a-frozen-replica-once",
        "G5",
        "every read waits anew for a replica that is frozen",
        {"posthouse.storage.engines.postgres.replicas:Standing.suspend": lambda *_: None},
        ("tests/storage/engines/postgres/test_replicas.py::test_frozen_replicas_cost_one_bounded_wait_each",),
    ),
    Safeguard(
        "notice-that-a-database-went-back",
        "G5",
        "a database that was put back to an older state goes on under its old epoch",
        {"posthouse.storage.engines.postgres.facts:_FACTS": Wrapped(engines.with_nothing_lost)},
        (
            "tests/storage/engines/postgres/test_failover.py::test_a_database_that_was_put_back_to_an_older_state_has_another_epoch",
        ),
    ),
    Safeguard(
        "let-in-without-a-database-that-hangs",
        "G5",
        "whoever enters waits for a database that does not answer, and hears nothing of what lies in the others",
        {"posthouse.messaging.gather:_answered": Wrapped(instead.wait_for_all)},
        (
            f"{_ENTRANCE}::test_a_database_that_does_not_answer_keeps_what_lies_in_others_waiting_only_for_a_moment",
        ),
    ),
    Safeguard(
        "owe-what-a-database-could-not-take",
        "G5",
        "who joins while the database of their account is away never hears of it",
        {"posthouse.messaging.readers:Roster._settle": lambda *_: None},
        (
            "tests/messaging/test_readers.py::test_a_database_that_is_away_keeps_waiting_only_those_who_live_there",
        ),
    ),
    Safeguard(
        "let-in-who-resumes",
        "G5",
        "who resumes is kept out while the database of their account is away",
        {
            "posthouse.gateway.entrance:Entrance._register": Wrapped(
                lambda register: lambda entrance, session, positions: register(entrance, session, None)
            )
        },
        (f"{_ENTRANCE}::test_who_resumes_is_let_in_while_the_database_of_their_own_account_is_away",),
    ),
)
