"""Listeners of one group in a worker process: what they receive is counted, timed and judged."""

from functools import partial
from typing import Final

from posthouse.client import Client, EntryReceived, Runtime
from posthouse.kit.clock import Clock
from posthouse.load.backend import Backend
from posthouse.load.bench.crowd import Crowd
from posthouse.load.bench.latencies import Latencies
from posthouse.load.bench.stamp import stamp_of
from posthouse.model.entry import MESSAGE, Entry
from posthouse.testing.history import History, Reader, Verdict

CONV: Final = "fanout"


class Hall:
    """One worker's listeners at one place."""

    def __init__(self, clock: Clock) -> None:
        self.crowd = Crowd()
        self.history = History(CONV)
        self.deliveries = 0
        self.latencies = Latencies()
        self._clock = clock
        self._sent_at: dict[int, float] = {}

    def seat(self, user: str, client: Client) -> None:
        """Listen to a client."""
        reader = self.history.reader(user, user)
        client.on(EntryReceived)(partial(self._take, reader))

    def _take(self, reader: Reader, event: EntryReceived) -> None:
        now, entry = self._clock.monotonic(), event.entry
        reader.see(entry)
        if entry.kind == MESSAGE:
            self.deliveries += 1
            self.latencies.add(now - self._time_of(entry))

    def _time_of(self, entry: Entry) -> float:
        """Read once for all listeners."""
        at = self._sent_at.get(entry.seq)
        if at is None:
            at = self._sent_at[entry.seq] = stamp_of(entry.body)
        return at


class Listeners:
    """A worker's subject: listeners at several places, each a hall of its own."""

    def __init__(self) -> None:
        self._runtime = Runtime()
        self._halls: dict[str, Hall] = {}

    async def close(self) -> None:
        """End all clients."""
        for hall in self._halls.values():
            await hall.crowd.close()
        await self._runtime.close()

    async def enter(self, hall: str, address: str, folder: str, users: list[str]) -> None:
        """Connect listeners, all of them members of the group."""
        opened = self._halls.setdefault(hall, Hall(self._runtime.clock))
        await opened.crowd.connect(address, folder, users, prepare=opened.seat, from_joining=True)

    async def deliveries(self, hall: str) -> int:
        """Messages received by all listeners so far."""
        return self._halls[hall].deliveries

    async def latencies(self, hall: str) -> dict[int, int]:
        """Latencies counted since the last call, as `Latencies.counts`."""
        opened = self._halls[hall]
        counted, opened.latencies = opened.latencies, Latencies()
        return counted.counts

    async def judge(self, hall: str, address: str, api_key: str) -> Verdict:
        """The checker's verdict on all listeners of this worker."""
        log = await Backend(address, api_key, self._runtime).log(CONV)
        return self._halls[hall].history.check(log)
