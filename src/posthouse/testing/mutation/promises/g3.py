"""What keeps G3: one order."""

from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

_COMMIT = "tests/messaging/test_commit.py"
_CONTRACT = "tests/storage/engines/postgres/test_contract.py"
_FAULTS = "tests/storage/engines/sqlite/test_faults.py"
_LANE = "tests/messaging/test_lane.py"

SAFEGUARDS = (
    Safeguard(
        "hold-back-after-a-refusal",
        "G3",
        "a later send overtakes one that was refused for now",
        {
            "posthouse.messaging.lane:Lane.admits": lambda *_: True,
            "posthouse.messaging.lane:Lane.enter": Wrapped(lambda enter: lambda *a: enter(*a) or 1),
        },
        (f"{_LANE}::test_a_send_refused_for_now_holds_back_later_ones_until_it_is_repeated",),
    ),
    Safeguard(
        "doubt-what-lay-there-during-a-stall",
        "G3",
        "a node that was frozen commits what its client has long been refused elsewhere",
        {"posthouse.messaging.vigil:Vigil.trusts": lambda *_: True},
        (
            f"{_COMMIT}::test_what_a_session_sent_around_a_stall_is_refused_for_now_and_what_follows_is_held_back",
        ),
    ),
    Safeguard(
        "ask-before-the-commit",
        "G3",
        "a node that was frozen in a transaction goes on with it, though its clients have left",
        {"posthouse.messaging.commit:GroupCommit._is_wanted": lambda _: lambda: True},
        (f"{_COMMIT}::test_a_stall_while_the_database_works_is_told_to_it_before_it_commits",),
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
        (f"{_FAULTS}::test_an_append_the_database_refuses_harms_only_itself",),
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
        "halve-a-batch-that-postgres-refuses",
        "G3",
        "one bad send takes all those of its batch along, on PostgreSQL",
        {"posthouse.storage.engines.postgres.database:PostgresDatabase._append_halves": engines.refuse_all},
        (
            "tests/storage/engines/postgres/test_appending.py::test_an_append_that_the_database_refuses_harms_only_itself",
        ),
    ),
    Safeguard(
        "validate-before-batching",
        "G3",
        "a send with text that no database keeps spoils its batch",
        {"posthouse.storage.append:malformed": lambda append: None},
        (f"{_CONTRACT}::TestPostgres::test_text_that_no_database_keeps_is_refused_and_harms_no_other",),
    ),
)
