"""What keeps G2: sending is idempotent."""

from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

_APPENDING = "tests/storage/engines/postgres/test_appending.py"
_SQLITE_CONTRACT = "tests/storage/engines/test_sqlite_contract.py"

SAFEGUARDS = (
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
        (f"{_SQLITE_CONTRACT}::TestSqlite::test_repeating_a_creation_is_answered_as_a_duplicate",),
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
        (f"{_SQLITE_CONTRACT}::TestSqlite::test_a_direct_conversation_is_created_by_either_and_once",),
    ),
    Safeguard(
        "refuse-what-is-too-old",
        "G2",
        "a send older than the window is written a second time",
        {"posthouse.storage.append:REPEAT_WINDOW_MS": 1 << 60},
        (f"{_SQLITE_CONTRACT}::TestSqlite::test_a_send_that_is_too_old_is_never_a_second_copy",),
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
        (f"{_APPENDING}::test_two_nodes_that_send_the_same_at_once_make_one_entry",),
    ),
    Safeguard(
        "deduplicate-after-a-move",
        "G2",
        "what a send is known by stays behind when its shard moves",
        {"posthouse.storage.engines.postgres.copying:_ENTRIES": Wrapped(engines.without_client_ids)},
        (
            "tests/storage/engines/postgres/test_moving.py::test_a_send_repeated_after_the_move_is_a_duplicate",
        ),
    ),
)
