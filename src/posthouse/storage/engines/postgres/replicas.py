"""Heavy reads of entries, from streaming replicas: only what is certain to be what the primary would answer.

The primary has said what may be seen, and how far: a replica may know of more, which was never acknowledged, and of
less. A range counts if it is complete there and of this primary's reign; else None, and the primary is asked. Whoever
does not answer is waited for once, and then left out until the watch finds it well.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from posthouse.balance.guards import EjectionRule, Ejections, Guards, guarded
from posthouse.balance.policy import Policy
from posthouse.balance.report import LoadReport
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger
from posthouse.model.entry import Entry
from posthouse.storage.base import StorageError
from posthouse.storage.engines.postgres.connection import Connection
from posthouse.storage.engines.postgres.errors import Collided
from posthouse.storage.engines.postgres.hosts import Host, HostState
from posthouse.storage.engines.postgres.reading import ENTRY_COLUMNS, FALLING, RISING, entry_of
from posthouse.storage.engines.postgres.session import READER_SETTINGS, Session, connect
from posthouse.storage.engines.postgres.sessions import Sessions
from posthouse.storage.visible import Span

_log = logger(__name__)

ANSWER_TIMEOUT_S: Final = 0.25
"""What a replica that hangs may cost one reader, once."""
HEAVY_ENTRIES_MIN: Final = 20
"""Smaller reads cost the primary less than asking twice would."""
LAG_S_MAX: Final = 2.0
MISSES_MAX: Final = 3
"""So many incomplete answers in a row, and a replica is taken for one that is behind."""
SUSPENDED_S: Final = 2.0
SUSPENDED_S_MAX: Final = 60.0
SESSIONS_MAX: Final = 4
"""Connections to one replica; with all of them busy the primary is asked."""
HALF_LIFE_S: Final = 5.0

GUARDS: Final = Guards(
    slow_start_s=10.0,
    panic_below=0.0,  # with no replica left there is still the primary
    ejection=EjectionRule(base_s=5.0, longest_s=60.0, share_max=1.0, targets_min=2),
)

# One statement, so that the head and the entries are of one moment, and the reign of that moment or before.
_ASK: Final = f"""
SELECT meta.reign = $8, log.head, found.* FROM meta
LEFT JOIN log ON log.app = $1 AND log.conv = $2
LEFT JOIN LATERAL (SELECT {ENTRY_COLUMNS} FROM ({{entries}}) AS entries) AS found ON true
ORDER BY found.seq {{order}}
"""
_RISING: Final = _ASK.format(entries=RISING, order="ASC")
_FALLING: Final = _ASK.format(entries=FALLING, order="DESC")


class Wanted(NamedTuple):
    """A read of entries; the spans are in reading order and end at or below what the primary says is the head."""

    app: str
    conv: str
    spans: Sequence[Span]
    rising: bool
    limit: int
    bytes_max: int

    @property
    def heavy(self) -> bool:
        """Whether it is worth a replica's while."""
        most = sum(span.last - span.first + 1 for span in self.spans)
        return min(most, self.limit) >= HEAVY_ENTRIES_MIN


class Standing:
    """One replica as we have seen it answer. Counts fade by half each `HALF_LIFE_S`."""

    def __init__(self, host: Host, clock: Clock) -> None:
        self.host = host
        self._clock = clock
        self.since = clock.monotonic()
        self.in_flight = 0
        self.latency_ms = 0.0
        self.suspended_until = 0.0
        self._suspensions = self._misses = 0
        self._answers = self._errors = self._counted_at = 0.0
        self.sessions = Sessions(
            partial(connect, host, READER_SETTINGS, standby=True, timeout_s=2 * ANSWER_TIMEOUT_S),
            host.name,
            sessions_max=SESSIONS_MAX,
            wait_timeout_s=ANSWER_TIMEOUT_S,
        )

    def report(self, state: HostState) -> LoadReport:
        """What a policy is told of it."""
        now = self._clock.monotonic()
        self._fade(now)
        per_s = 0.69 / HALF_LIFE_S
        return LoadReport(
            target=self.host.name,
            at=now,
            in_flight=self.in_flight,
            latency_ms=self.latency_ms,
            deliveries_per_s=self._answers * per_s,
            errors_per_s=self._errors * per_s,
            healthy=state.role == "standby" and state.lag_s <= LAG_S_MAX and now >= self.suspended_until,
            since=self.since,
        )

    def answered(self, took_s: float) -> None:
        """It gave what was asked."""
        self._fade(self._clock.monotonic())
        self._answers += 1
        self._misses = self._suspensions = 0
        self.latency_ms += (took_s * 1000 - self.latency_ms) * (0.2 if self.latency_ms else 1.0)

    def missed(self) -> None:
        """It had not replayed all that was asked for."""
        self._misses += 1
        if self._misses >= MISSES_MAX:
            self.suspend("is behind")

    def failed(self) -> None:
        """It refused, for a reason that says nothing of the next read."""
        self._fade(self._clock.monotonic())
        self._errors += 1

    def suspend(self, why: str) -> None:
        """Ask it no more for a while, which is longer each time in a row. Who had asked already changes nothing."""
        if self._clock.monotonic() < self.suspended_until:
            return
        self._misses = 0
        for_s = min(SUSPENDED_S * 2**self._suspensions, SUSPENDED_S_MAX)
        self._suspensions += 1
        self.suspended_until = self.since = self._clock.monotonic() + for_s
        self.sessions.give_up()
        _log.warning("a replica is left out", replica=self.host.name, why=why, for_s=for_s)

    def _fade(self, now: float) -> None:
        share = 0.5 ** ((now - self._counted_at) / HALF_LIFE_S)
        self._answers, self._errors, self._counted_at = self._answers * share, self._errors * share, now


class Replicas:
    """The replicas of one database. `states` tells what the watch knows of all its hosts."""

    def __init__(
        self,
        states: Callable[[], Sequence[HostState]],
        policy: Policy[Any],
        clock: Clock,
        uniform: Callable[[], float],
    ) -> None:
        self._states = states
        self._policy = policy
        self._policy_state = policy.start()
        self._ejections: Ejections = {}
        self._clock = clock
        self._uniform = uniform
        self._standings: dict[Host, Standing] = {}
        self.reads = self.behind = self.failures = self.nobody = 0
        self.reason = "no replica has been asked for"

    def close(self) -> None:
        """Drop all connections."""
        for standing in self._standings.values():
            standing.sessions.close()

    async def entries(self, wanted: Wanted, reign: str) -> list[Entry] | None:
        """The entries, exactly as the primary would give them; None: ask the primary. Never raises."""
        standing = self._choose() if reign and wanted.heavy else None
        if standing is None:
            return None
        begun = self._clock.monotonic()
        standing.in_flight += 1
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                found = await self._ask(standing.sessions, wanted, reign)
        except Collided:  # a conflict with what is being replayed
            self.failures += 1
            standing.failed()
            return None
        except (StorageError, TimeoutError) as error:
            self.failures += 1
            standing.suspend(str(error) or "does not answer")
            return None
        finally:
            standing.in_flight -= 1
        if found is None:
            self.behind += 1
            standing.missed()
            return None
        self.reads += 1
        standing.answered(self._clock.monotonic() - begun)
        return found

    def _choose(self) -> Standing | None:
        states = {state.host.name: state for state in self._states() if state.role == "standby"}
        if not states:
            return None
        standings = {name: self._standing(state.host) for name, state in states.items()}
        reports = [standings[name].report(state) for name, state in states.items()]
        now = self._clock.monotonic()
        snapshot, self._ejections = guarded(reports, now, self._ejections, GUARDS)
        decision, self._policy_state = self._policy.choose(snapshot, self._policy_state, self._uniform())
        self.reason = decision.reason
        if decision.target is None:
            self.nobody += 1
            return None
        return standings[decision.target]

    def _standing(self, host: Host) -> Standing:
        known = self._standings.get(host)
        if known is None:
            known = self._standings[host] = Standing(host, self._clock)
        return known

    async def _ask(self, sessions: Sessions, wanted: Wanted, reign: str) -> list[Entry] | None:
        async with sessions.use() as session:
            return await complete_entries(session, wanted, reign)


async def complete_entries(session: Session, wanted: Wanted, reign: str) -> list[Entry] | None:
    """What a replica holds of the spans, or None if that is not certain to be all of it."""
    found: list[Entry] = []
    for span in wanted.spans:
        rows = await _rows(session.connection, wanted, span, found, reign)
        ours, head = rows[0][:2] if rows else (False, None)
        entries = [entry_of(row[2:]) for row in rows if row[3] is not None]
        left = wanted.limit - len(found)
        if not ours or not is_complete(
            [each.seq for each in entries], span, wanted.rising, left, head, bool(found)
        ):
            return None
        found += entries
        end = span.last if wanted.rising else span.first
        if len(found) >= wanted.limit or not entries or entries[-1].seq != end:
            break
    return found


def is_complete(
    seqs: Sequence[int], span: Span, rising: bool, limit: int, head: int | None, may_be_empty: bool
) -> bool:
    """Whether rows with these numbers are all that the primary would give of a span, where the log ends at `head`.

    A log has no gaps, so what stops before the replica's head stopped at a limit. Later spans may be left for the next
    page, when the bodies of the earlier ones have used up all the bytes.
    """
    first, step = (span.first, 1) if rising else (span.last, -1)
    if head is None or head < first or list(seqs) != list(range(first, first + step * len(seqs), step)):
        return False
    if not seqs:
        return may_be_empty
    return not rising or head >= span.last or len(seqs) >= limit or seqs[-1] < head


async def _rows(
    connection: Connection, wanted: Wanted, span: Span, found: Sequence[Entry], reign: str
) -> Sequence[Any]:
    left = wanted.bytes_max - sum(len(entry.body) for entry in found)
    whole = 0 if found else span.first if wanted.rising else span.last
    sql = _RISING if wanted.rising else _FALLING
    limit = wanted.limit - len(found)
    return [
        tuple(row)
        for row in await connection.fetch(sql, wanted.app, wanted.conv, *span, limit, left, whole, reign)
    ]
