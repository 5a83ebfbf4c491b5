"""The people of a simulated cluster: each the real SDK on a host of its own, what it said and what it was given.

A person's application may be killed and started again. What its store had taken by then must still be sent.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from posthouse.client import Client
from posthouse.client.errors import ClientClosed, OutboxFull, SendRefused
from posthouse.client.events import ConversationJoined, ConversationLeft, EntryReceived, SendFailed
from posthouse.client.posted import Posted
from posthouse.client.runtime import Runtime
from posthouse.kit.clock import Clock
from posthouse.model.entry import Entry
from posthouse.protocol.codes import Code
from posthouse.testing.history import Device, History, Reader
from posthouse.testing.simulation.network import Host

RESTART_S = 0.3
"""How long an application takes to start."""
FOR_TODAY = (Code.NOT_MEMBER,)
"""Refusals that hold as long as what they say: a copy of the send that hangs in a frozen node is written when that
thaws and its sender has become a member again (P-8.9)."""
Named = tuple[str, str]
"""A send: its conversation and its name."""


class Person:
    """One device of one user, who says so many things in the conversations they are in.

    `begin` makes a new life for the application: a host, and what its client runs on.
    """

    def __init__(
        self,
        device: Device,
        token: str,
        address: str,
        begin: Callable[[], tuple[Host, Runtime]],
        histories: Mapping[str, History],
        note: Callable[[str], None],
        store: Path | None = None,
    ) -> None:
        self.device = device
        self.said = 0
        self.lives = 0
        self.said_at: dict[Named, float] = {}
        self.seen_at: dict[Named, float] = {}
        self._token = token
        self._address = address
        self._begin = begin
        self._histories = histories
        self._note = note
        self._store = store
        self._readers: dict[str, Reader] = {}
        self._posted: list[Posted] = []
        self._promised: dict[Named, None] = {}
        self._convs: dict[str, None] = {}
        self._client: Client | None = None

    @property
    def name(self) -> str:
        """The name of their host."""
        return "-".join(self.device)

    # The application ------------------------------------------------------------------------------------------------

    async def start(self, convs: Sequence[str] = ()) -> None:
        """Begin to connect. `convs`: what they are in as far as they know."""
        self._convs.update(dict.fromkeys(convs))
        self.lives += 1
        self.host, self.runtime = self._begin()
        user, name = self.device
        client = Client(
            self._address,
            token=self._token,
            user=user,
            device=name,
            catch_up="all",
            runtime=self.runtime,
            store=self._store,
            outbox_messages_max=10_000,
        )
        client.on(EntryReceived)(self._see)
        client.on(ConversationJoined)(lambda event: self._convs.setdefault(event.conv))
        client.on(ConversationLeft)(lambda event: self._convs.pop(event.conv, None))
        client.on(SendFailed)(self._hear_refusal)
        self._client = client
        await client.start()

    async def kill(self) -> None:
        """The process is gone, in mid-sentence. What the store had not taken is lost with it."""
        client, self._client = self._client, None
        if client is None:
            return
        self.host.crash()
        shell = client._shell
        store, shell._store, shell._closed = shell._store, None, True
        if store is not None:
            store._release()
        await self.runtime.close()
        for posted in self._posted:
            if posted.outcome is None and posted._stored_outcome is True:
                self._promised[posted.conv, posted.client_id] = None
        self._tell_outcomes()
        for reader in self._readers.values():
            reader.restart(1 << 53)  # what the store had not noted comes again

    async def restart(self) -> None:
        """The application is there again, with its store."""
        if self._client is None:
            await self.start()

    async def close(self) -> None:
        """Leave."""
        if self._client is not None:
            await self._client.close()
            await self.runtime.close()

    # What they say --------------------------------------------------------------------------------------------------

    async def talk(self, clock: Clock, rng: random.Random, moments: Sequence[float]) -> None:
        """Say things, now and then several in one breath."""
        began = clock.monotonic()
        for moment in moments:
            await clock.sleep(began + moment - clock.monotonic())
            while self._client is None or not self._convs:
                await clock.sleep(RESTART_S)
            self._say(self._client, rng.choice(list(self._convs)), f"{self.device[1]} {self.said}")

    def _say(self, client: Client, conv: str, text: str) -> None:
        content = {"text": text}
        try:
            posted = client.post(conv, content)
        except (OutboxFull, ClientClosed):
            return
        self.said += 1
        self.said_at[conv, posted.client_id] = self.runtime.clock.monotonic()
        self._posted.append(posted)
        self._histories[conv].sent(self.device, posted.client_id, msgspec.json.encode(content))

    def unsettled(self, logs: Mapping[str, Sequence[Entry]]) -> int:
        """Sends whose outcome is not known yet. Those of an earlier life are done when they are in the log."""
        for conv in {conv: None for conv, _ in self._promised}:
            for entry in logs[conv]:
                if (entry.sender, entry.device) == self.device:
                    self._promised.pop((conv, entry.client_id), None)
        return len(self._promised) + sum(posted.outcome is None for posted in self._posted)

    @property
    def refused(self) -> set[str]:
        """The names of those sends of this life that were refused."""
        return {posted.client_id for posted in self._posted if isinstance(posted.outcome, SendRefused)}

    @property
    def connected(self) -> bool:
        """True while a session stands."""
        return self._client is not None and self._client.connected

    @property
    def cornered(self) -> bool:
        """True while they know of one node alone. Whoever started when there was one asks again soon."""
        core = self._client._shell.core if self._client is not None else None
        return core is not None and len(core.route._known()) < 2

    def tell(self) -> None:
        """Tell the histories how the sends have ended, as this device was told."""
        self._tell_outcomes()

    def _tell_outcomes(self) -> None:
        for posted in self._posted:
            history, outcome = self._histories[posted.conv], posted.outcome
            if isinstance(outcome, SendRefused) and outcome.code not in FOR_TODAY:
                history.refused(self.device, posted.client_id)
            elif outcome is not None and not isinstance(outcome, Exception):
                history.acked(self.device, posted.client_id, outcome.seq)
        self._posted.clear()

    def _hear_refusal(self, event: SendFailed) -> None:
        if self._promised.pop((event.conv, event.client_id), self) is None and event.code not in FOR_TODAY:
            self._histories[event.conv].refused(self.device, event.client_id)

    # What they are given --------------------------------------------------------------------------------------------

    def follow(self, conv: str) -> None:
        """This device is to see what its user may see of a conversation."""
        self._readers[conv] = self._histories[conv].reader("/".join(self.device), self.device[0])

    def _see(self, event: EntryReceived) -> None:
        self._readers[event.conv].see(event.entry)
        self.seen_at[event.conv, event.entry.client_id] = self.runtime.clock.monotonic()
        self._note(f"{self.device[1]} {self.device[0]} {event.conv} {event.seq}")
