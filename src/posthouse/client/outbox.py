"""What the application has sent and the server has not settled: in order within each conversation (G2, G3). Pure.

Sends are pipelined up to `in_flight_max`. After a send was refused for now, its conversation drains: nothing goes out
until every answer is in, then the earliest send goes alone, and when it is settled the others follow, one more at once
with each round: what gathered while a database was away does not come from every client in the same moment.
"""

from collections import deque
from math import inf
from typing import Any

import msgspec

from posthouse.client.errors import OutboxFull
from posthouse.kit.backoff import Backoff
from posthouse.protocol.codes import Action, Code, action_of
from posthouse.protocol.frames import Ack, Error, Send

PAUSING_CODES = frozenset({Code.RATE_LIMITED, Code.BUSY, Code.IN_FLIGHT_LIMIT})
"""Refusals that concern the whole session: nothing is sent until the wait is over."""
RETRY = Backoff(first_s=0.2, factor=2.0, longest_s=30.0)


class Item:
    """One send until it is settled. `handle` is the caller's and not looked at."""

    __slots__ = ("handle", "in_flight", "send")

    def __init__(self, send: Send, handle: Any = None) -> None:
        self.send = send
        self.handle = handle
        self.in_flight = False


class Lane:
    """One conversation's unsettled sends in order; those in flight stand before those that are not."""

    __slots__ = ("attempts", "blocked", "in_flight", "items", "probing", "ready_at", "window")

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self.in_flight = 0
        self.blocked = False
        """A send was refused for now: nothing goes out until all is answered, then the first send alone."""
        self.probing = False
        """That first send is on its way."""
        self.window = inf
        """How many may be in flight now."""
        self.ready_at = -inf
        self.attempts = 0

    def unblock(self) -> None:
        """Let sends flow again."""
        self.blocked = self.probing = False
        self.ready_at, self.attempts = -inf, 0

    def next_item(self, now: float) -> Item | None:
        """The send that may go out now, if any."""
        if self.blocked:
            return self.items[0] if self.in_flight == 0 and self.ready_at <= now else None
        return self.items[self.in_flight] if self.flows else None

    @property
    def flows(self) -> bool:
        """True when, unless it is blocked, a send may go out."""
        return self.in_flight < len(self.items) and self.in_flight + 1 <= self.window


class Outbox:
    """Every unsettled send of one client. Overflow: `reserve` raises `OutboxFull`."""

    __slots__ = (
        "_by_id", "_in_flight", "_in_flight_max", "_lanes", "_open", "_paused_until", "_ready",
        "_window", "messages_max", "reserved", "retries",
    )  # fmt: skip

    def __init__(self, messages_max: int) -> None:
        self.messages_max = messages_max
        self.reserved = 0
        self.retries = 0
        self._by_id: dict[str, tuple[Lane, Item]] = {}
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[str] = deque()
        self._in_flight = 0
        self._in_flight_max = 0
        self._window = 0.0
        """How many may be in flight now: halved when the server says it is too much."""
        self._open = False
        self._paused_until = -inf

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def in_flight(self) -> int:
        """Sends on their way, not answered yet."""
        return self._in_flight

    def unsettled(self) -> list[Item]:
        """Every send that has no answer yet."""
        return [item for _, item in self._by_id.values()]

    def reserve(self) -> None:
        """Take a place before the send is made durable; raises `OutboxFull`. Given back when the send is settled."""
        if self.reserved >= self.messages_max:
            raise OutboxFull(f"{self.reserved} messages wait to be acknowledged, which is the most allowed")
        self.reserved += 1

    def release(self) -> None:
        """Give a place back: the send was never added."""
        self.reserved -= 1

    def add(self, item: Item) -> None:
        """Queue a send that has its place."""
        conv = item.send.conv
        lane = self._lanes.get(conv)
        if lane is None:
            lane = self._lanes[conv] = Lane()
        lane.items.append(item)
        self._by_id[item.send.client_id] = (lane, item)
        self._ready.append(conv)

    # The session

    def open(self, in_flight_max: int) -> None:
        """A session stands: everything unsettled goes out again, in order."""
        self._open = True
        self._in_flight_max = in_flight_max
        self._window = float(in_flight_max)
        self._ready = deque(self._lanes)

    def lose_connection(self) -> None:
        """What was in flight may or may not have arrived: it is sent again, under the same names."""
        self._open = False
        self._in_flight = 0
        self._paused_until = -inf
        for lane in self._lanes.values():
            lane.in_flight = 0
            lane.unblock()
            for item in lane.items:
                item.in_flight = False

    def take(self, now: float) -> list[Send]:
        """The sends to write now."""
        if not self._open or now < self._paused_until:
            return []
        sends: list[Send] = []
        waiting: list[str] = []
        while self._ready and self._in_flight < int(self._window):
            conv = self._ready.popleft()
            lane = self._lanes.get(conv)
            if lane is None:
                continue
            item = lane.next_item(now)
            if item is not None:
                self._depart(lane, item)
                sends.append(item.send)
                self._ready.append(conv)
            elif lane.blocked and lane.ready_at > now:
                waiting.append(conv)
        self._ready.extend(dict.fromkeys(waiting))
        return sends

    @property
    def due(self) -> float:
        """When `take` has something to say."""
        if not self._open or not self._ready or self._in_flight >= int(self._window):
            return inf
        soonest = min(
            (self._lane_due(self._lanes[conv]) for conv in self._ready if conv in self._lanes), default=inf
        )
        return max(soonest, self._paused_until)

    # Answers

    def ack(self, ack: Ack) -> Item | None:
        """The send is in the log. None when it was settled before."""
        self._window = min(self._in_flight_max, _widened(self._window))
        found = self._by_id.get(ack.client_id)
        if found is not None:
            found[0].window = _widened(found[0].window)
        return self._settle(ack.client_id)

    def refuse(self, error: Error, now: float, uniform: float) -> Item | None:
        """A send was refused: returns it when that is final, otherwise it goes out again later."""
        if action_of(error.code) is not Action.RETRY:
            return self._settle(error.client_id)
        found = self._by_id.get(error.client_id)
        if found is not None:
            self._delay(*found, error, now, uniform)
        return None

    def _settle(self, client_id: str) -> Item | None:
        found = self._by_id.pop(client_id, None)
        if found is None:
            return None
        lane, item = found
        if item.in_flight:
            self._arrive(lane, item)
        lane.items.remove(item)
        if lane.probing and lane.in_flight == 0:
            lane.unblock()
        self.reserved -= 1
        if lane.items:
            self._ready.append(item.send.conv)
        else:
            del self._lanes[item.send.conv]
        return item

    def _delay(self, lane: Lane, item: Item, error: Error, now: float, uniform: float) -> None:
        if not item.in_flight:
            return
        self._arrive(lane, item)
        lane.blocked, lane.probing, lane.window = True, False, 1.0
        if error.code != Code.HELD_BACK:
            self.retries += 1
            lane.attempts += 1
            wait_s = max(error.retry_after_ms / 1000, RETRY.delay_s(lane.attempts, uniform))
            lane.ready_at = max(lane.ready_at, now + wait_s)
            if error.code in PAUSING_CODES:
                if now >= self._paused_until:
                    self._window = max(1.0, self._window / 2)
                self._paused_until = max(self._paused_until, now + wait_s)
        self._ready.append(item.send.conv)

    def _depart(self, lane: Lane, item: Item) -> None:
        item.in_flight = True
        lane.probing = lane.blocked
        lane.in_flight += 1
        self._in_flight += 1

    def _arrive(self, lane: Lane, item: Item) -> None:
        item.in_flight = False
        lane.in_flight -= 1
        self._in_flight -= 1

    def _lane_due(self, lane: Lane) -> float:
        if lane.blocked:
            return lane.ready_at if lane.in_flight == 0 else inf
        return -inf if lane.flows else inf


def _widened(window: float) -> float:
    """After an ack: one more in a round of them."""
    return window + 1 / max(1.0, window)


def item_of(
    conv: str,
    client_id: str,
    made_at_ms: int,
    body: bytes,
    kind: str,
    reply_to: int,
    mentions: tuple[str, ...],
) -> Item:
    """A send as the outbox keeps it; `body` is one JSON object."""
    return Item(
        Send(
            conv=conv,
            client_id=client_id,
            made_at=made_at_ms,
            body=msgspec.Raw(body),
            kind=kind,
            reply_to=reply_to,
            mentions=mentions,
        )
    )
