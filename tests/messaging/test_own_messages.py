"""Whoever writes a message has read up to it."""

from collections.abc import Sequence
from typing import cast

from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.clock import ManualClock
from posthouse.messaging.publish import Publisher
from posthouse.messaging.receipts import Receipts
from posthouse.model.cursor import Cursor
from posthouse.storage.base import Append, CursorUpdate, Log


class Written:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.updates: list[CursorUpdate] = []

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        self.updates.extend(updates)
        return []

    async def conversation(self, app: str, conv: str) -> None:
        return None


def message(sender: str, *, trusted: bool = False) -> Append:
    return Append(
        app="app",
        conv="c",
        kind="message",
        client_id="1",
        made_at_ms=1,
        body=b"{}",
        sender=sender,
        trusted=trusted,
    )


async def test_sending_moves_the_senders_own_cursors_and_nobody_elses() -> None:
    """P-7.15."""
    log = Written()
    receipts = Receipts(cast("Log", log), Publisher(MemoryBus(), MemoryRoutes()), ManualClock())
    receipts.sent(message("ann"), 4)
    receipts.sent(message("ann"), 6)
    receipts.sent(message("bot", trusted=True), 7)
    await receipts.flush()
    assert log.updates == [CursorUpdate("app", "ann", Cursor("c", 6, 6))]
