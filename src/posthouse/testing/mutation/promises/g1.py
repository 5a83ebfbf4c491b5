"""What keeps G1: acknowledged means durable."""

from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

_COMMIT = "tests/storage/engines/postgres/test_commit.py"
_POWER = "tests/storage/engines/sqlite/test_power.py"

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
        (f"{_COMMIT}::test_a_commit_whose_wait_is_cut_short_is_not_answered_until_it_is_settled",),
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
        (f"{_POWER}::test_what_was_acknowledged_outlives_a_power_cut",),
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
        (f"{_COMMIT}::test_settings_of_the_role_do_not_weaken_a_commit",),
    ),
    Safeguard(
        "let-no-timeout-cut-a-commit",
        "G1",
        "a role's own time limit cancels a commit that waits for its standby",
        {
            "posthouse.storage.engines.postgres.database:WRITER_SETTINGS": Wrapped(
                lambda all_: {key: value for key, value in all_.items() if key != "statement_timeout"}
            )
        },
        (f"{_COMMIT}::test_settings_of_the_role_do_not_weaken_a_commit",),
    ),
    Safeguard(
        "believe-only-whole-answers",
        "G1",
        "a replica that is behind is taken for complete",
        {"posthouse.storage.engines.postgres.replicas:is_complete": lambda *_: True},
        ("tests/storage/engines/postgres/test_replicas.py::test_what_counts_as_complete",),
    ),
    Safeguard(
        "ask-only-up-to-an-acknowledged-head",
        "G1",
        "a replica shows what was never acknowledged",
        {"posthouse.storage.engines.postgres.replicas:complete_entries": Wrapped(engines.up_to_its_own_head)},
        (
            "tests/storage/engines/postgres/test_replicas.py::test_an_entry_that_is_not_acknowledged_is_not_shown",
        ),
    ),
    Safeguard(
        "believe-no-replica-of-another-reign",
        "G1",
        "a replica that a failover has left behind shows what was undone",
        {
            "posthouse.storage.engines.postgres.replicas:_RISING": Wrapped(engines.of_any_reign),
            "posthouse.storage.engines.postgres.replicas:_FALLING": Wrapped(engines.of_any_reign),
        },
        ("tests/storage/engines/postgres/test_replicas.py::test_a_replica_of_another_reign_is_not_believed",),
    ),
    Safeguard(
        "wait-for-the-commit",
        "G1",
        "a node answers while PostgreSQL still waits for the standby",
        {"posthouse.storage.engines.postgres.session:Session._commit": Wrapped(engines.commit_some_time)},
        (f"{_COMMIT}::test_nothing_is_answered_before_the_standby_has_it",),
    ),
    Safeguard(
        "never-cancel-a-commit",
        "G1",
        "who gives up waiting makes PostgreSQL give up waiting for the standby",
        {
            "posthouse.storage.engines.postgres.writer:Writer.run": engines.work_in_the_callers_own_task,
            "posthouse.storage.engines.postgres.session:Session.drop": lambda session: None,
        },
        (f"{_COMMIT}::test_a_caller_who_is_cancelled_does_not_cancel_the_commit",),
    ),
    Safeguard(
        "an-end-during-commit-is-a-doubt",
        "G1",
        "a server that shuts down during a commit is taken to have made it safe",
        {"posthouse.storage.engines.postgres.session:Session._commit": Wrapped(engines.take_for_done)},
        (f"{_COMMIT}::test_a_shutdown_that_cuts_the_wait_short_is_no_acknowledgement",),
    ),
    Safeguard(
        "sync-what-a-killed-process-left",
        "G1",
        "a repeated send is confirmed from an entry that was never synced",
        {"posthouse.storage.engines.sqlite.database:write_probe": lambda *_: 0},
        (f"{_POWER}::test_what_a_killed_process_has_not_synced_is_synced_before_it_is_confirmed",),
    ),
)
