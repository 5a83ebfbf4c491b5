"""What a node takes of its clients, and what happens beyond."""

from typing import Annotated

from posthouse.app.config.terms import Count, Rate, Room, says


class Limits(Room, frozen=True, kw_only=True):
    """Nothing is unbounded. Each limit says what happens beyond it; each refusal and disconnect is counted in
    /metrics."""

    connections_max: Annotated[
        Count,
        says("""Open connections of this node. Beyond: answered 503 with Retry-After, or cut where [tls] is set. A node
            whose limit of open files (ulimit -n) is too low for them takes fewer, and says so in its log."""),
    ] = 15_000
    frame_bytes_max: Annotated[
        Count,
        says("""One frame of a client, inflated. Beyond: closed with 1009. A body may have 32 KiB."""),
    ] = 65_536
    outbox_bytes_max: Annotated[
        Count,
        says("""What may wait to be written to one client. Beyond: disconnected as slow_reader; it resumes and
            catches up from the log. Memory in the worst case: this times the connections. One answer to a client
            takes at most half of it."""),
    ] = 524_288
    in_flight_max: Annotated[
        Count,
        says("Unanswered requests of one session, sends included. Beyond: refused as in_flight_limit."),
    ] = 256
    hello_timeout_ms: Annotated[
        Count,
        says("From connecting to a valid hello. Beyond: disconnected as hello_timeout."),
    ] = 10_000
    entering_max: Annotated[
        Count,
        says("Sessions being let in at once. Beyond: sent away as overloaded, with a time to come back."),
    ] = 20_000
    logins_per_s: Annotated[
        Rate,
        says("""Sessions that start afresh, on this node. Beyond: sent away as overloaded, with a time to come back.
            Resumes are exempt: they hardly touch the database."""),
    ] = 1_000.0
    logins_burst: Annotated[Rate, says("How many may come at once on top of logins_per_s.")] = 2_000.0
    logins_per_user_per_s: Annotated[
        Rate,
        says("""Sessions that one user begins on this node, resumed ones too. Beyond: sent away as overloaded, with a
            time to come back."""),
    ] = 5.0
    logins_per_user_burst: Annotated[
        Rate,
        says(
            "How many may come at once on top of logins_per_user_per_s, as when a node that had them all ends."
        ),
    ] = 50.0
    sessions_per_user_max: Annotated[
        Count,
        says("Devices of one user on this node at once. Beyond: further ones are sent away as overloaded."),
    ] = 100
    frames_per_connection_per_s: Annotated[
        Rate,
        says("Frames of any kind from one connection. Beyond: disconnected as connection_rate."),
    ] = 200.0
    frames_per_connection_burst: Annotated[
        Rate,
        says("How many may come at once on top of frames_per_connection_per_s."),
    ] = 1_000.0
    sends_per_user_per_s: Annotated[
        Rate,
        says("""Sends of one user, over all their devices on this node. Beyond: refused as rate_limited with
            retry_after_ms. People type slower; bots and load tests need more."""),
    ] = 20.0
    sends_per_user_burst: Annotated[
        Rate,
        says("How many may come at once on top of sends_per_user_per_s."),
    ] = 100.0
    sends_per_app_per_s: Annotated[
        Rate,
        says("""Sends of all users of one app on this node, so that one app cannot starve another. Beyond: refused
            as rate_limited with retry_after_ms."""),
    ] = 50_000.0
    sends_per_app_burst: Annotated[
        Rate,
        says("How many may come at once on top of sends_per_app_per_s."),
    ] = 100_000.0
    queue_sends_max: Annotated[
        Count,
        says(
            "Sends that wait for the database. Beyond: refused as busy. More only make everyone wait longer."
        ),
    ] = 20_000
    batch_sends_max: Annotated[Count, says("Sends in one transaction. The rest waits for the next one.")] = (
        2_000
    )
