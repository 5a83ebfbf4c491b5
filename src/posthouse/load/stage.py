"""Plays one day of a chat log in a group of its own, and judges it: everything said, by everyone who was there.

Steps begin in the log's order. Sends are pipelined, at most `window` at once; a join is awaited before the nick
speaks, and a leave begins when all that the nick has said is settled.
"""

import asyncio
from typing import Final

import msgspec

from posthouse.client import Posted, SendRefused, Sent
from posthouse.kit.clock import Clock
from posthouse.load.backend import Backend
from posthouse.load.cast import DEVICE, Cast, Player
from posthouse.load.irc import Act, Day, Step
from posthouse.load.report import Report
from posthouse.model.entry import MESSAGE, Entry
from posthouse.testing.history import History

ACTION_KIND: Final = "x.action"
STILL_S: Final = 30.0
"""Readers that lack something and have received nothing for so long will not receive it any more."""
POLL_S: Final = 0.1


class Stage:
    """One day on one group, counted in `report`, which other days share. `speed` 0: as fast as the server allows."""

    def __init__(
        self,
        day: Day,
        conv: str,
        backend: Backend,
        clock: Clock,
        *,
        window: int,
        speed: float,
        report: Report,
    ) -> None:
        self._report = report
        self._day = day
        self._conv = conv
        self._backend = backend
        self._clock = clock
        self._speed = speed
        self._window = asyncio.Semaphore(window)
        self._history = History(conv, knows_all=True)
        self._open: dict[str, set[asyncio.Future[Sent]]] = {nick: set() for nick in day.cast}

    async def play(self, cast: Cast) -> None:
        """Play the day from its first line to the judgement on its readers."""
        try:
            players = await cast.enter(self._day.cast)
            for player in players.values():
                player.readers[self._conv] = self._history.reader(f"{player.nick}/{DEVICE}", player.nick)
            await self._backend.create_group(self._conv, self._day.present, self._day.name)
            begun = self._clock.monotonic()
            for step in self._day.steps:
                if self._speed:
                    await self._clock.sleep(begun + step.after_s / self._speed - self._clock.monotonic())
                await self._act(step, players[step.nick])
            await self._settle(*self._day.cast)
            await self._judge()
        finally:
            await cast.leave(self._day.cast)

    async def _act(self, step: Step, player: Player) -> None:
        match step.act:
            case Act.JOIN:
                await self._backend.add(self._conv, [step.nick])
                self._report.joins += 1
            case Act.LEAVE:
                await self._settle(step.nick)
                await self._backend.remove(self._conv, step.nick)
                self._report.leaves += 1
            case Act.MESSAGE | Act.ACTION:
                await self._say(step, player)

    async def _say(self, step: Step, player: Player) -> None:
        await self._window.acquire()
        kind = MESSAGE if step.act is Act.MESSAGE else ACTION_KIND
        content = {"text": step.text}
        posted = player.client.post(self._conv, content, kind=kind)
        self._history.sent((step.nick, DEVICE), posted.client_id, msgspec.json.encode(content))
        answer = posted.acked
        self._open[step.nick].add(answer)
        answer.add_done_callback(lambda answer: self._answered(step, posted, answer))
        if step.act is Act.MESSAGE:
            self._report.messages += 1
        else:
            self._report.actions += 1

    def _answered(self, step: Step, posted: Posted, answer: asyncio.Future[Sent]) -> None:
        self._open[step.nick].discard(answer)
        self._window.release()
        device = (step.nick, DEVICE)
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, SendRefused):
            self._history.refused(device, posted.client_id)
        elif error is None and not answer.cancelled():
            self._history.acked(device, posted.client_id, answer.result().seq)
            self._report.acked += step.act is Act.MESSAGE

    async def _settle(self, *nicks: str) -> None:
        """Until everything that these nicks have said is answered."""
        waiting = [answer for nick in nicks for answer in self._open[nick]]
        if waiting:
            await asyncio.wait(waiting)

    async def _judge(self) -> None:
        log = await self._backend.log(self._conv)
        await self._wait_readers(log)
        self._report.judge(self._history.check(log))

    async def _wait_readers(self, log: list[Entry]) -> None:
        """Until every reader has been given all that it may see, or nothing more comes."""
        deliveries, since = -1, 0.0
        while self._history.lagging(log):
            now = self._clock.monotonic()
            if self._history.deliveries != deliveries:
                deliveries, since = self._history.deliveries, now
            elif now - since > STILL_S:
                return
            await self._clock.sleep(POLL_S)
