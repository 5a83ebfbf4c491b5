"""One node among the others: announces itself each second, reads who else is there, and keeps the picture of all.

Fencing: when a newer process has taken this node's name, this one is superseded for good and must not serve. A node
that was frozen, or cut off from the cache for longer than its time to live, was gone for the others: it tells those
who must make good what they have missed. Everything runs in one loop.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from posthouse.cache.base import CacheUnavailable, Nodes
from posthouse.cluster.snapshot import (
    NOBODY,
    TTL_S,
    ClusterSnapshot,
    NodeReport,
    changes,
    encode_report,
    snapshot_of,
    unread,
)
from posthouse.kit.clock import Clock
from posthouse.kit.log import logger

_log = logger(__name__)


class Membership:
    """`report` is asked each second what this node says of itself; name, incarnation and time served are filled in.

    `snapshot` is the latest picture. Callbacks, all in the event loop: `on_change` hears which node has
    changed and how; `on_superseded` once; `on_absent` that the others may have taken this node for gone, and why;
    `on_known` after each second why the register did not answer (empty: it did).
    """

    INTERVAL_S: Final = 1.0

    def __init__(self, node: str, nodes: Nodes, report: Callable[[], NodeReport], clock: Clock) -> None:
        self.node = node
        self.snapshot: ClusterSnapshot = NOBODY
        self.incarnation = clock.now_ms()
        self.superseded = False
        self.on_change: Callable[[str, str], None] = lambda node, sentence: None
        self.on_superseded: Callable[[], None] = lambda: None
        self.on_absent: Callable[[str], None] = lambda reason: None
        self.on_known: Callable[[str], None] = lambda reason: None
        self._nodes = nodes
        self._report = report
        self._clock = clock
        self._started = clock.monotonic()
        self._announced_at: float | None = None
        self._peers: tuple[str, ...] = ()

    @property
    def holder(self) -> str:
        """The name of this process, for leases: one that is started again under the same name is another."""
        return f"{self.node}#{self.incarnation}"

    def peers(self) -> tuple[str, ...]:
        """The other nodes whose gateways must be told, those in doubt included."""
        return self._peers

    async def join(self) -> None:
        """Announce this node for the first time, as a newer incarnation of whatever had its name. Raises
        `CacheUnavailable`."""
        for record in await self._nodes.all():
            if record.node == self.node:
                self.incarnation = max(self.incarnation, record.incarnation + 1)
        await self._beat()

    async def run(self) -> None:
        """Announce and look, each second, for ever."""
        while True:
            await self.beat()
            await self._clock.sleep(self.INTERVAL_S)

    async def beat(self) -> None:
        """Announce and look once. While the cache cannot say, the picture stays as it was."""
        try:
            await self._beat()
        except CacheUnavailable as error:
            self._see(unread(self.snapshot, str(error), self._clock.monotonic()))
            self.on_known(str(error))

    async def leave(self) -> None:
        """The last report: the others need not wait until this node's time is up. Never raises."""
        if not self.superseded:
            try:
                await self._nodes.announce(self.node, self.incarnation, self._said(leaving=True), TTL_S)
            except CacheUnavailable as error:
                _log.warning("could not say goodbye; the others find out by themselves", reason=str(error))

    async def _beat(self) -> None:
        if self.superseded:
            self._see(snapshot_of(self.snapshot, await self._nodes.all(), self._clock.monotonic()))
            return
        asked_at = self._clock.monotonic()
        if not await self._nodes.announce(self.node, self.incarnation, self._said(), TTL_S):
            self.superseded = True
            self.on_superseded()
            return
        self._notice_absence(asked_at)
        self._announced_at = asked_at
        self._see(snapshot_of(self.snapshot, await self._nodes.all(), self._clock.monotonic()))
        self.on_known("")

    def _notice_absence(self, now: float) -> None:
        """By this node's own clock: its last announcement had run out before this one stood."""
        if self._announced_at is not None and now - self._announced_at > TTL_S:
            self.on_absent(f"this node could not announce itself for {now - self._announced_at:.1f} s")

    def _said(self, *, leaving: bool = False) -> bytes:
        up_s = self._clock.monotonic() - self._started
        said = replace(
            self._report(), node=self.node, incarnation=self.incarnation, up_s=up_s, leaving=leaving
        )
        return encode_report(said)

    def _see(self, after: ClusterSnapshot) -> None:
        before, self.snapshot = self.snapshot, after
        self._peers = tuple(name for name in after.gateways if name != self.node)
        for node, sentence in changes(before, after):
            self.on_change(node, sentence)
