"""The people of a simulated cluster: each the real SDK on a host of its own, what it said and what it was given."""

import random
from collections.abc import Callable, Mapping, Sequence

from posthouse.client import Client
from posthouse.client.errors import ClientClosed, OutboxFull, SendRefused
from posthouse.client.events import EntryReceived
from posthouse.client.posted import Posted
from posthouse.client.runtime import Runtime
from posthouse.testing.history import Device, History, Reader
from posthouse.testing.simulation.network import Host


class Person:
    """One device of one user, who says so many things in the conversations they are in."""

    def __init__(
        self,
        host: Host,
        runtime: Runtime,
        address: str,
        token: str,
        device: Device,
        histories: Mapping[str, History],
        note: Callable[[str], None],
    ) -> None:
        user, name = device
        self.host = host
        self.runtime = runtime
        self.device = device
        self.client = Client(
            address,
            token=token,
            user=user,
            device=name,
            catch_up="all",
            runtime=runtime,
            outbox_messages_max=10_000,
        )
        self.said = 0
        self.refusals: list[str] = []
        self._histories = histories
        self._note = note
        self._readers: dict[str, Reader] = {}
        self._posted: list[Posted] = []
        self.client.on(EntryReceived)(self._see)

    async def start(self) -> None:
        """Begin to connect."""
        await self.client.start()

    async def close(self) -> None:
        """Leave."""
        await self.client.close()
        await self.runtime.close()

    async def talk(self, convs: Sequence[str], rng: random.Random, sends: int, within_s: float) -> None:
        """Say things, now and then several in one breath."""
        moments = sorted(rng.uniform(0.0, within_s) for _ in range(sends))
        began = self.host.clock.monotonic()
        for moment in moments:
            await self.host.clock.sleep(began + moment - self.host.clock.monotonic())
            self._say(rng.choice(convs), f"{self.device[1]} {self.said}")

    @property
    def unsettled(self) -> int:
        """Sends whose outcome is not known yet."""
        return sum(posted.outcome is None for posted in self._posted)

    def tell(self) -> None:
        """Tell the histories how the sends have ended, as this device was told."""
        for posted in self._posted:
            history, outcome = self._histories[posted.conv], posted.outcome
            if isinstance(outcome, SendRefused):
                history.refused(self.device, posted.client_id)
                self.refusals.append(f"{posted.client_id}: {outcome}")
            elif outcome is not None and not isinstance(outcome, Exception):
                history.acked(self.device, posted.client_id, outcome.seq)

    def join(self, conv: str) -> None:
        """This device is to see a conversation."""
        if conv not in self._readers:
            self._readers[conv] = self._histories[conv].reader("/".join(self.device), self.device[0])

    def _say(self, conv: str, text: str) -> None:
        try:
            posted = self.client.post(conv, text)
        except (OutboxFull, ClientClosed) as error:
            self.refusals.append(str(error))
            return
        self.said += 1
        self._posted.append(posted)
        self._histories[conv].sent(self.device, posted.client_id)

    def _see(self, event: EntryReceived) -> None:
        self.join(event.conv)
        self._readers[event.conv].see(event.entry)
        self._note(f"{self.device[1]} {self.device[0]} {event.conv} {event.seq}")
