"""What keeps G7: nothing is unbounded."""

from math import inf

from posthouse.testing.mutation import engines, instead
from posthouse.testing.mutation.breaking import Wrapped
from posthouse.testing.mutation.safeguard import Safeguard

SAFEGUARDS = (
    Safeguard(
        "slow-readers-are-disconnected",
        "G7",
        "a client that never reads fills the server's memory",
        {"posthouse.gateway.websocket:Socket.pause_writing": lambda socket: None},
        ("tests/gateway/test_websocket.py::test_a_slow_reader_overflows_and_nobody_else_is_delayed",),
    ),
    Safeguard(
        "queues-are-bounded",
        "G7",
        "sends pile up without end while the database is away",
        {"posthouse.messaging.commit:CommitLimits.queue_sends_max": 1 << 60},
        ("tests/messaging/test_commit.py::test_a_full_queue_refuses_and_keeps_what_it_has",),
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
        ("tests/gateway/test_websocket.py::test_a_deflate_bomb_closes_with_too_large",),
    ),
    Safeguard(
        "shed-what-waits-for-the-bus",
        "G7",
        "what cannot be published piles up without end",
        {"posthouse.messaging.publish:WAITING_BYTES_MAX": 1 << 60},
        ("tests/messaging/test_publish.py::test_what_waits_too_long_is_dropped_oldest_first_and_counted",),
    ),
    Safeguard(
        "owe-only-so-much",
        "G7",
        "what gateways could not be told piles up without end",
        {"posthouse.messaging.repair:_count": lambda heads: 0},
        ("tests/messaging/test_repair.py::test_what_is_owed_is_bounded",),
    ),
    Safeguard(
        "early-entries-are-few",
        "G7",
        "a client keeps every entry that comes before its turn",
        {"posthouse.client.timeline:HELD_ENTRIES_MAX": 1 << 60},
        ("tests/client/test_timeline.py::test_too_many_early_entries_are_dropped_and_fetched",),
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
        ("tests/client/test_outbox.py::test_a_full_outbox_refuses_and_a_settled_send_makes_room",),
    ),
    Safeguard(
        "start-slowly-after-an-outage",
        "G7",
        "all clients send all that has gathered in the moment in which their database is back",
        {"posthouse.client.outbox:_widened": lambda window: inf},
        (
            "tests/client/test_outbox.py::test_what_gathered_behind_a_refusal_for_now_goes_out_a_few_more_each_round",
        ),
    ),
    Safeguard(
        "count-receipts-of-large-groups",
        "G7",
        "each receipt in a large group goes to everybody",
        {"posthouse.messaging.receipts:SHOWN_MEMBERS_MAX": 1 << 60},
        ("tests/messaging/test_receipts.py::test_a_conversation_that_grows_large_is_noticed_after_a_while",),
    ),
    Safeguard(
        "connections-are-bounded",
        "G7",
        "whoever opens connections without end takes all descriptors and memory",
        {"posthouse.gateway.listener:_NewConnection.connection_made": Wrapped(instead.take_every_connection)},
        (
            "tests/gateway/test_listener.py::test_connections_beyond_the_limit_are_told_to_come_back_and_further_ones_at_once",
        ),
    ),
    Safeguard(
        "heads-come-in-time",
        "G7",
        "clients that never end their first request keep their connections",
        {"posthouse.gateway.connections:Connections.expect_head": lambda *_: None},
        ("tests/gateway/test_listener.py::test_a_client_that_sends_its_head_too_slowly_is_cut_off",),
    ),
    Safeguard(
        "what-waits-for-a-cache-is-bounded",
        "G7",
        "what a frozen cache has not answered piles up without end",
        {"posthouse.valkey.link:Link.call": Wrapped(engines.queue_without_end)},
        ("tests/valkey/test_link.py::test_what_waits_for_a_server_is_bounded",),
    ),
    Safeguard(
        "receipts-are-coalesced",
        "G7",
        "each move of a cursor is a transaction and a message of its own",
        {"posthouse.messaging.receipts:Receipts.submit": Wrapped(instead.write_each_at_once)},
        ("tests/messaging/test_receipts.py::test_what_gathers_is_written_together_once_each_interval",),
    ),
    Safeguard(
        "marks-are-checked",
        "G7",
        "a database is asked for text that no database can hold",
        {"posthouse.storage.marks:check_id": lambda text, what: text},
        ("tests/storage/test_marks.py::test_what_is_no_mark_is_the_top",),
    ),
)
