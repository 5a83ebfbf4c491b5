"""The audit: what was decided and why, one sentence each. Kept in memory on every node, a bounded number.

Decisions are shared with the other nodes, so that whoever is asked can tell them, also when the node that decided is
gone; what each node sees for itself stays with it. Losing some on the way loses no message.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from posthouse.kit.clock import Clock
from posthouse.kit.limits import TokenBucket
from posthouse.kit.log import logger
from posthouse.kit.malformed import MALFORMED

_log = logger(__name__)

KEPT_MAX: Final = 2_000
"""Policy: the oldest is forgotten."""
SHARED_PER_S: Final = 20.0
SHARED_BURST: Final = 200.0
"""Beyond, an event stays with its node (policy: shed), counted in `unshared`."""
TEXT_CHARS_MAX: Final = 1_000


class Event(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """One decision, or one thing seen. `kind` is a word such as `drain` or `node`; `subject` whom it concerns; `why`
    one sentence. `node` decided it as its `number`th since it started as `incarnation`. `at_ms` is for display."""

    at_ms: int
    node: str
    incarnation: int
    number: int
    kind: str
    subject: str
    why: str
    dry_run: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


class Events:
    """The ring of one node. `share` hands encoded events to the other nodes."""

    def __init__(self, node: str, incarnation: Callable[[], int], clock: Clock) -> None:
        self._node = node
        self._incarnation = incarnation
        self._clock = clock
        self._kept: deque[Event] = deque(maxlen=KEPT_MAX)
        self._number = 0
        self._bucket = TokenBucket(SHARED_PER_S, SHARED_BURST, clock.monotonic())
        self.share: Callable[[Sequence[bytes]], None] = lambda events: None
        self.unshared = 0

    def record(
        self, kind: str, subject: str, why: str, *, dry_run: bool = False, shared: bool = True
    ) -> Event:
        """Something was decided here (or, not `shared`, seen here). Also a line in the log."""
        self._number += 1
        event = Event(
            self._clock.now_ms(),
            self._node,
            self._incarnation(),
            self._number,
            kind,
            subject,
            why[:TEXT_CHARS_MAX],
            dry_run,
        )
        self._kept.append(event)
        _log.info("event", kind=kind, subject=subject, why=event.why, dry_run=dry_run)
        if shared:
            self._share(event)
        return event

    def hear(self, encoded: Sequence[bytes]) -> None:
        """Events of other nodes. Its own come back as well, and what cannot be read: both are passed over."""
        for each in encoded:
            try:
                event = _decode(each)
            except MALFORMED:
                continue
            if event.node != self._node:
                self._kept.append(event)

    def latest(self, limit: int = 200, *, kind: str = "", subject: str = "") -> list[Event]:
        """The last events, oldest first."""
        chosen = [each for each in sorted(self._kept) if kind in ("", each.kind)]
        return [each for each in chosen if subject in ("", each.subject)][-limit:]

    def _share(self, event: Event) -> None:
        if self._bucket.take(self._clock.monotonic()):
            self.share([_encode(event)])
        else:
            self.unshared += 1
