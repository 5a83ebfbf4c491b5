"""The people of a soak, in a worker process: they talk in chapters, each in conversations of its own; all is judged.

Residents stay connected and read everything. Around them go on, so many a second: connections that break, members who
leave and come back, visitors who read up and say something, and clients that refuse to read. At a chapter's end
everybody leaves its conversations, so that neither side need hold more of them than of one chapter.
"""

import asyncio
import itertools
import random
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from posthouse.client import Client, ClientError, EntryReceived, Posted, Runtime, Sent
from posthouse.client.transport import Receiver, Transport, connect
from posthouse.kit.tasks import Tasks
from posthouse.load.backend import Backend
from posthouse.load.bench.passes import Passes
from posthouse.load.bench.population import groups
from posthouse.load.bench.stamp import stamped
from posthouse.load.soak.deaf import refuse_to_read
from posthouse.model.conversation import History as WhoSees
from posthouse.testing.census import Census, census
from posthouse.testing.history import History, Reader, Verdict

DEVICE = "soak"
GROUP_SIZE = 10
GROUPS_EACH = 2
CONNECTING_MAX = 20
CONNECT_TIMEOUT_S = 60.0
SETTLE_TIMEOUT_S = 60.0
ASIDE_MAX = 30
"""What goes on beside talking at once; beyond, it is left out."""
POLL_S = 0.1
PAGE = 100
ARCHIVE = "archive"
ARCHIVE_MESSAGES = 300
DEAF_ASKING_S = 3.0
SHOUTS, SHOUT_BYTES = 30, 20_000
"""More than what may wait to be written to one client."""
ASIDES_PER_MESSAGE = {"cut": 0.02, "leave": 0.01, "visit": 0.02, "read_up": 0.02, "deaf": 0.002}
"""How often each happens, for each message that is posted."""


class Chapter(msgspec.Struct):
    """What a chapter has shown. `census` is the worker's own, after everybody has left the conversations."""

    verdict: Verdict
    asides: dict[str, int]
    failed: dict[str, int]
    census: Census


class People:
    """A worker's subject."""

    def __init__(self) -> None:
        self._runtime = Runtime(connect=self._connect)
        self._clock = self._runtime.clock
        self._tasks = Tasks(self._clock)
        self._chance = random.Random(0)
        self._numbers = itertools.count(1)
        self._residents: dict[str, Client] = {}
        self._sockets: list[tuple[Transport, Receiver]] = []
        self._members: dict[str, list[str]] = {}
        self._histories: dict[str, History] = {}
        self._readers: dict[tuple[str, str], Reader] = {}
        self._visits: set[str] = set()
        self._in_flight = 0
        self._asides: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    async def close(self) -> None:
        """End all clients."""
        await self.leave()
        await self._tasks.close()
        await self._runtime.close()

    async def enter(self, addresses: list[str], folder: str, api_key: str, residents: int) -> None:
        """Let the residents in."""
        self._addresses = addresses
        self._passes = Passes(Path(folder), self._clock)
        self._backend = Backend(addresses[0], api_key, self._runtime)
        connecting = asyncio.Semaphore(CONNECTING_MAX)

        async def enter(user: str) -> None:
            async with connecting:
                self._residents[user] = client = self._client(user)
                client.on(EntryReceived)(partial(self._take, user))
                await client.start()
                await client.wait_connected(CONNECT_TIMEOUT_S)

        await asyncio.gather(*(enter(f"resident-{number}") for number in range(residents)))
        await self._fill_archive()

    async def leave(self) -> None:
        """End the residents' connections."""
        await asyncio.gather(*(client.close() for client in self._residents.values()))
        self._residents.clear()
        self._sockets.clear()

    async def chapter(self, number: int, seconds: float, per_s: float) -> Chapter:
        """Talk for so long, then judge all of it, and leave the conversations."""
        self._asides, self._failed = (
            dict.fromkeys(ASIDES_PER_MESSAGE, 0),
            dict.fromkeys(ASIDES_PER_MESSAGE, 0),
        )
        await self._begin(number)
        await self._talk(seconds, per_s)
        await self._hush()
        verdict = await self._judge()
        await self._end()
        return Chapter(verdict, self._asides, self._failed, census(collect=True))

    async def _fill_archive(self) -> None:
        """A log that is long enough to choke on."""
        client = next(iter(self._residents.values()))
        await client.create_group(conv=ARCHIVE, history=WhoSees.ALL)
        await asyncio.gather(*(client.send(ARCHIVE, stamped(0.0)) for _ in range(ARCHIVE_MESSAGES)))

    # A chapter

    async def _begin(self, number: int) -> None:
        formed = groups(list(self._residents), GROUP_SIZE, GROUPS_EACH, self._chance)
        for at, members in enumerate(formed):
            conv = f"chapter-{number}-{at}"
            self._members[conv] = list(members)
            history = self._histories[conv] = History(conv, knows_all=True)
            for user in members:
                self._readers[user, conv] = history.reader(user, user)
        await asyncio.gather(*(self._backend.create_group(conv, own) for conv, own in self._members.items()))

    async def _talk(self, seconds: float, per_s: float) -> None:
        until = self._clock.monotonic() + seconds
        convs = list(self._members)
        while self._clock.monotonic() < until:
            conv = self._chance.choice(convs)
            user = self._chance.choice(self._members[conv])
            self._post(self._residents[user], user, conv)
            for aside, share in ASIDES_PER_MESSAGE.items():
                if self._chance.random() < share and self._tasks.running < ASIDE_MAX:
                    self._tasks.spawn(aside, self._go_aside(aside, conv))
            await self._clock.sleep(1 / per_s)

    async def _hush(self) -> None:
        give_up_at = self._clock.monotonic() + SETTLE_TIMEOUT_S
        while (self._tasks.running or self._in_flight) and self._clock.monotonic() < give_up_at:
            await self._clock.sleep(POLL_S)

    async def _judge(self) -> Verdict:
        verdict = Verdict()
        for conv, history in self._histories.items():
            log = await self._backend.log(conv)
            give_up_at = self._clock.monotonic() + SETTLE_TIMEOUT_S
            while history.lagging(log) and self._clock.monotonic() < give_up_at:
                await self._clock.sleep(POLL_S)
            verdict = verdict.plus(history.check(log))
        return verdict

    async def _end(self) -> None:
        leaving = [(conv, user) for conv, members in self._members.items() for user in members]
        await asyncio.gather(*(self._backend.remove(conv, user) for conv, user in leaving))
        for held in (self._members, self._histories, self._readers):
            held.clear()

    # What goes on beside

    async def _go_aside(self, aside: str, conv: str) -> None:
        asides: dict[str, Callable[[str], Coroutine[Any, Any, None]]] = {
            "cut": self._cut,
            "leave": self._leave_for_a_while,
            "visit": self._visit,
            "read_up": self._read_up,
            "deaf": self._be_deaf,
        }
        try:
            await asides[aside](conv)
        except (ClientError, OSError):
            self._failed[aside] += 1
        else:
            self._asides[aside] += 1

    async def _cut(self, _conv: str) -> None:
        """A network that fails."""
        standing = [each for each in self._sockets if not each[0].gone]
        if standing:
            socket, receiver = self._chance.choice(standing)
            socket.abort()
            receiver.lost(socket, 0, "cut off")

    async def _leave_for_a_while(self, conv: str) -> None:
        members = self._members[conv]
        if len(members) < 2:
            return
        user = members.pop(self._chance.randrange(len(members)))
        await self._backend.remove(conv, user)
        await self._backend.add(conv, [user])
        members.append(user)

    async def _visit(self, conv: str) -> None:
        """Somebody who was never there before comes, reads, says something, and is never seen again."""
        user = f"visitor-{next(self._numbers)}"
        await self._backend.add(conv, [user])
        client = self._client(user)
        try:
            await client.start()
            await client.wait_connected(CONNECT_TIMEOUT_S)
            async for _ in client.history(conv, limit=PAGE):
                pass
            self._post(client, user, conv)
            await client.flush()
            client.mark_read(conv)
        finally:
            await client.close()
        await self._backend.remove(conv, user)

    async def _read_up(self, conv: str) -> None:
        client = self._residents[self._chance.choice(self._members[conv])]
        last = 0
        async for entry in client.history(conv, limit=PAGE):
            last = max(last, entry.seq)
        client.mark_read(conv, last)

    async def _be_deaf(self, _conv: str) -> None:
        user = f"deaf-{next(self._numbers)}"
        await self._backend.add(ARCHIVE, [user])
        address, token = self._chance.choice(self._addresses), self._passes.token(user)
        refusing = refuse_to_read(address, token, DEVICE, ARCHIVE, self._clock)
        rid_of, _ = await asyncio.gather(refusing, self._shout())
        await self._backend.remove(ARCHIVE, user)
        if not rid_of:
            raise TimeoutError(f"{user} was not disconnected")

    async def _shout(self) -> None:
        """Answers wait until there is room for them; what others say does not."""
        await self._clock.sleep(DEAF_ASKING_S)
        client = next(iter(self._residents.values()))
        body = {"text": "x" * SHOUT_BYTES}
        await asyncio.gather(*(client.send(ARCHIVE, body) for _ in range(SHOUTS)))

    # Inside

    def _client(self, user: str) -> Client:
        return Client(
            self._addresses,
            token=self._passes.token(user),
            device=DEVICE,
            runtime=self._runtime,
            catch_up="all",
        )

    async def _connect(self, url: str, receiver: Receiver, tls: ssl.SSLContext | None) -> Transport:
        socket = await connect(url, receiver, tls)
        self._sockets = [each for each in self._sockets if not each[0].gone]
        self._sockets.append((socket, receiver))
        return socket

    def _take(self, user: str, event: EntryReceived) -> None:
        reader = self._readers.get((user, event.entry.conv))
        if reader is not None:
            reader.see(event.entry)

    def _post(self, client: Client, user: str, conv: str) -> None:
        posted = client.post(conv, stamped(self._clock.monotonic()))
        self._histories[conv].sent((user, DEVICE), posted.client_id)
        self._in_flight += 1
        posted.acked.add_done_callback(partial(self._answered, user, posted))

    def _answered(self, user: str, posted: Posted, answer: "asyncio.Future[Sent]") -> None:
        self._in_flight -= 1
        history = self._histories.get(posted.conv)
        if answer.cancelled() or history is None:
            return
        if answer.exception() is not None:
            history.refused((user, DEVICE), posted.client_id)
        else:
            history.acked((user, DEVICE), posted.client_id, answer.result().seq)
