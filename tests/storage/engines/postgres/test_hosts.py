"""Who is the primary, and how far a replica is behind: decided on what every host has last said."""

import pytest

from posthouse.storage.engines.postgres.hosts import (
    AWAY_S_MAX,
    Host,
    HostState,
    Look,
    Mark,
    Role,
    choose_primary,
    hosts_of,
    lag_s,
)

A, B = Host("a/db", "postgresql://a/db"), Host("b/db", "postgresql://b/db")
NOW = 100.0


def primary(host: Host, timeline: int, *, read_only: bool = False) -> HostState:
    return HostState(host, "primary", Look(False, read_only, timeline, 1))


def standby(host: Host) -> HostState:
    return HostState(host, "standby", Look(True, True))


def away(host: Host, for_s: float) -> HostState:
    return HostState(host, "away", since=NOW - for_s, why="away: no answer")


def test_an_address_of_several_hosts_is_an_address_for_each() -> None:
    dsn = "postgresql://ann:p%40ss@db1,db2:5433,[::1]:5434/chat?sslmode=require"
    assert hosts_of(dsn) == (
        Host("db1/chat", "postgresql://ann:p%40ss@db1/chat?sslmode=require"),
        Host("db2:5433/chat", "postgresql://ann:p%40ss@db2:5433/chat?sslmode=require"),
        Host("[::1]:5434/chat", "postgresql://ann:p%40ss@[::1]:5434/chat?sslmode=require"),
    )


@pytest.mark.parametrize(
    "dsn", ["postgresql://ann:secret@db/chat", "postgresql:///chat?host=/run/postgresql"]
)
def test_an_address_of_one_host_is_left_as_it_is(dsn: str) -> None:
    (host,) = hosts_of(dsn)
    assert host.dsn == dsn
    assert "secret" not in host.name


@pytest.mark.parametrize(
    ("states", "current", "timeline", "chosen"),
    [
        ([primary(A, 1), standby(B)], None, 0, A),
        ([standby(A), primary(B, 1)], A, 1, B),
        ([primary(A, 1), primary(B, 2)], A, 1, B),
        ([primary(A, 1), standby(B)], B, 2, None),
        ([primary(A, 1), away(B, 1)], B, 2, B),
        ([away(A, AWAY_S_MAX - 0.1), standby(B)], A, 1, A),
        ([away(A, AWAY_S_MAX), standby(B)], A, 1, None),
        ([standby(A), standby(B)], A, 1, None),
        ([primary(A, 1, read_only=True), primary(B, 1)], A, 1, B),
        ([primary(A, 1), primary(B, 1)], B, 1, B),
        ([primary(A, 0), standby(B)], A, 0, A),
        ([HostState(A), HostState(B)], None, 0, None),
    ],
)
def test_who_is_the_primary(
    states: list[HostState], current: Host | None, timeline: int, chosen: Host | None
) -> None:
    """The newest timeline, then who takes writes, then who was; one that is silent is kept for a moment."""
    assert choose_primary(states, current, timeline, NOW).host == chosen


def test_without_a_primary_it_is_said_what_each_host_is_instead() -> None:
    why = choose_primary([primary(A, 1), away(B, 9)], B, 2, NOW).why
    assert why == "no primary: a/db is a primary that was replaced; b/db is away: no answer"


@pytest.mark.parametrize("role", ["unknown", "standby"])
def test_a_host_says_what_it_is_in_words(role: Role) -> None:
    assert (
        str(HostState(A, role)) == {"unknown": "a/db is not asked yet", "standby": "a/db is a standby"}[role]
    )


@pytest.mark.parametrize(
    ("replayed", "lag"), [(30, 0.0), (29, 1.0), (20, 1.0), (19, 5.0), (0, 9.0), (None, 0.0)]
)
def test_a_replica_is_behind_for_as_long_as_the_primary_has_had_what_it_lacks(
    replayed: int | None, lag: float
) -> None:
    marks = [Mark(91.0, 10), Mark(95.0, 20), Mark(99.0, 30)]
    assert lag_s(replayed, marks, NOW) == lag
