"""Several real nodes in processes of their own, on one real PostgreSQL and one real Valkey, and people who talk.

Everything that people send, are told and see of the town's one group goes into a history, which is judged at the end.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from posthouse.app.secrets import FILE, Secrets, load_or_create
from posthouse.client import Client, EntryReceived, Posted, Runtime, SendRefused, Sent
from posthouse.kit.clock import SystemClock
from posthouse.kit.tasks import start
from posthouse.load.backend import Backend
from posthouse.model.entry import Entry
from posthouse.testing.history import History, Verdict
from posthouse.testing.servers import LocalServer
from posthouse.testing.valkey import LocalValkey

SQUARE = "square"
PATIENCE_S = 30.0
POLL_S = 0.02
DEVICE = "phone"


class Person:
    """A user's device. What it is given of the group is compared as it comes; `heard` keeps the texts."""

    def __init__(self, user: str, client: Client, history: History, device: str = DEVICE) -> None:
        self.user = user
        self.device = (user, device)
        self.client = client
        self.heard: list[str] = []
        self.sent = 0
        self._history = history
        self._reader = history.reader(f"{user}/{device}", user)
        self._answers: list[asyncio.Future[Sent]] = []
        client.on(EntryReceived)(self._take)

    def _take(self, event: EntryReceived) -> None:
        if event.entry.conv == SQUARE:
            self._reader.see(event.entry)
            self.heard.append(text_of(event.entry))

    def say(self, text: str) -> Posted:
        """Send, and let the history know what comes of it."""
        self.sent += 1
        content = {"text": text}
        posted = self.client.post(SQUARE, content)
        self._history.sent(self.device, posted.client_id, msgspec.json.encode(content))
        posted.acked.add_done_callback(lambda answer: self._answered(posted, answer))
        self._answers.append(posted.acked)
        return posted

    def _answered(self, posted: Posted, answer: asyncio.Future[Sent]) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            self._history.acked(self.device, posted.client_id, answer.result().seq)
        elif isinstance(error, SendRefused):
            self._history.refused(self.device, posted.client_id)

    async def settled(self) -> None:
        """Everything said is answered."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._answers, return_exceptions=True)


class Town:
    """Nodes are named n1, n2, …; people say which one they live at, and stay there, unless they `roam`."""

    def __init__(self, nodes: Sequence[LocalServer], cache: LocalValkey, secrets: Secrets) -> None:
        self.nodes = nodes
        self.cache = cache
        self.runtime = Runtime()
        self.back_end = Backend(nodes[0].url, secrets.api_key, self.runtime)
        self.people: list[Person] = []
        self.history = History(SQUARE, knows_all=True)
        self.clock = SystemClock()

    async def person(
        self, user: str, node: int = 0, *, roams: bool = False, device: str = DEVICE, heartbeat_s: int = 2
    ) -> Person:
        """Somebody who is connected."""
        url = self.nodes[node].url

        async def token() -> str:
            return await self.back_end.token(user, device)

        client = Client(
            url if roams else f"{url.replace('http', 'ws', 1)}/v1/ws",
            token=token,
            device=device,
            runtime=self.runtime,
            catch_up="all",
            reconnect_jitter_s=0.5,
            heartbeat_s=heartbeat_s,
        )
        person = Person(user, client, self.history, device)
        self.people.append(person)
        await client.start()
        await client.wait_connected(PATIENCE_S)
        return person

    async def gather(self, *users: str) -> None:
        """The town's group."""
        await self.back_end.create_group(SQUARE, users)

    async def talk(
        self,
        seconds: float,
        rate_per_s: float = 20.0,
        among: Sequence[Person] = (),
        meanwhile: Mapping[float, Callable[[], None]] | None = None,
    ) -> None:
        """Everybody speaks in turn. `meanwhile`: what happens how many seconds from the beginning, in a thread."""
        speakers = among or self.people
        begun = self.clock.monotonic()
        happening = [start(self._happen(after_s, what)) for after_s, what in (meanwhile or {}).items()]
        number = 0
        while self.clock.monotonic() < begun + seconds:
            speaker = speakers[number % len(speakers)]
            speaker.say(f"{speaker.user} {number}")
            number += 1
            await self.clock.sleep(1 / rate_per_s)
        await asyncio.gather(*happening)

    async def _happen(self, after_s: float, what: Callable[[], None]) -> None:
        await self.clock.sleep(after_s)
        await asyncio.to_thread(what)

    async def heard(self, text: str, within_s: float = PATIENCE_S) -> float:
        """Wait until everybody but its speaker has heard a text; returns how long that took."""
        begun = self.clock.monotonic()
        async with asyncio.timeout(within_s):
            while not all(text in person.heard for person in self.people if not text.startswith(person.user)):
                await self.clock.sleep(POLL_S)
        return self.clock.monotonic() - begun

    async def judged(self) -> Verdict:
        """Wait until everything is answered and everybody has been given all, then judge."""
        for person in self.people:
            await person.settled()
        log = await self.back_end.log(SQUARE)
        until = self.clock.monotonic() + PATIENCE_S
        while self.history.lagging(log) and self.clock.monotonic() < until:
            await self.clock.sleep(POLL_S)
        return self.history.check(log)

    async def block(self, user: str, blocked: bool = True) -> None:
        """What the application says of a user, to the first node."""
        await self.back_end.put_user(user, blocked=blocked)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self.clock.sleep(POLL_S)

    async def metric(self, node: int, name: str) -> float:
        """A metric of one node."""
        there = Backend(self.nodes[node].url, "", self.runtime)
        return await there.metric(f"posthouse_{name}")

    async def calm(self) -> None:
        """Every node knows of every other and trusts what it is told."""
        async with asyncio.timeout(PATIENCE_S):
            for node in range(len(self.nodes)):
                while not (
                    await self.metric(node, "hints_trusted")
                    and await self.metric(node, "nodes_live") == len(self.nodes)
                    and not await self.metric(node, "polling")
                ):
                    await self.clock.sleep(POLL_S)

    async def close(self) -> None:
        await asyncio.gather(*(person.client.close() for person in self.people))
        await self.runtime.close()


def text_of(entry: Entry) -> str:
    """What a message says."""
    body = json.loads(bytes(entry.body))
    return str(body.get("text", entry.kind))


@asynccontextmanager
async def town(
    database: str, folder: Path, count: int = 2, settings: Mapping[str, object] | None = None
) -> AsyncIterator[Town]:
    """Nodes that are up and know of each other."""
    cache = LocalValkey()
    nodes: list[LocalServer] = []
    secrets = load_or_create(folder)
    try:
        await asyncio.to_thread(cache.start)
        for number in range(1, count + 1):
            own = {"cache.url": cache.url, "node.name": f"n{number}", "drain.window_s": 0.5}
            node = LocalServer(folder / f"n{number}", database=database, settings=own | dict(settings or {}))
            node.data.mkdir(parents=True)
            shutil.copy(folder / FILE, node.data / FILE)
            nodes.append(node)
        await asyncio.to_thread(nodes[0].start)
        await asyncio.gather(*(asyncio.to_thread(node.start) for node in nodes[1:]))
        here = Town(nodes, cache, secrets)
        try:
            yield here
        finally:
            await here.close()
    finally:
        for each in [*nodes, cache]:
            await asyncio.to_thread(each.close)
