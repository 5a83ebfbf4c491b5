"""What keeps G6: two faults cost availability, not truth."""

from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

SAFEGUARDS = (
    Safeguard(
        "a-repetition-waits-for-the-standby",
        "G6",
        "a repeated send is confirmed from an entry that no standby has",
        {"posthouse.storage.engines.postgres.appending:_LOCK": Wrapped(engines.without_lock)},
        (
            "tests/storage/engines/postgres/test_commit.py::test_a_repetition_does_not_confirm_what_no_standby_has",
        ),
    ),
    Safeguard(
        "refuse-what-is-in-doubt",
        "G6",
        "a commit that has not ended in time is reported as done",
        {"posthouse.storage.engines.postgres.writer:Writer.run": Wrapped(engines.hope_at_the_deadline)},
        (
            "tests/storage/engines/postgres/test_commit.py::test_what_stays_in_doubt_is_refused_as_such_and_settled_by_a_repetition",
        ),
    ),
    Safeguard(
        "unknown-is-not-nothing",
        "G6",
        "what lies in a database that is away is taken for empty",
        {"posthouse.cluster.routing:RoutedDatabase.heads": Wrapped(instead.nothing_where_unknown)},
        ("tests/cluster/test_routing.py::test_a_dead_database_is_unknown_and_never_nothing",),
    ),
    Safeguard(
        "leave-unsettled-what-cannot-be-told",
        "G6",
        "what a database that is away may have written is refused for good",
        {"posthouse.messaging.commit:GroupCommit._land": Wrapped(instead.refuse_for_good)},
        ("tests/messaging/test_commit.py::test_what_the_database_cannot_do_leaves_every_send_unsettled",),
    ),
)
