"""Under a seed one user joins, leaves, enters and resumes again and again, while answers lag and notes are lost."""

import asyncio
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from posthouse.gateway.audience import RETRY_INTERVAL_S
from posthouse.kit.virtual import VirtualLoop
from posthouse.messaging.notes import EntryNote, HeadsNote
from tests.gateway.fake_database import APP
from tests.gateway.hall import Guest, Hall, hall, settled

CONVS = ("c", "d")
LOGS = (*CONVS, "~ann")
STEPS = range(8, 40)
LAGS = (3, 20, 120)
"""How many turns of the event loop an answer is late at most."""
LOST = (0.0, 0.3, 0.6)
"""The share of notes that the bus loses."""
BETWEEN = (0, 1, 3, 10, 60)
"""How many turns of the event loop pass from one step to the next."""
STEP_S = 0.05
CALM_ROUNDS = 6


class Stay(NamedTuple):
    """ann was a member from one entry up to and with another, or still is."""

    joined_seq: int
    left_seq: int | None = None

    def covers(self, seq: int) -> bool:
        return self.joined_seq <= seq and (self.left_seq is None or seq <= self.left_seq)


class Story:
    """What happens to ann, and what she may hear of it."""

    def __init__(self, it: Hall, rng: random.Random) -> None:
        self.it = it
        self.rng = rng
        self.stays: dict[str, list[Stay]] = {conv: [] for conv in CONVS}
        self.anns: list[Guest] = []
        self.to_tell: list[EntryNote] = []
        self.to_list: list[Callable[[], EntryNote]] = []
        """What ann's account log does not know yet; it learns in order."""
        self.lost_share = rng.choice(LOST)
        late = rng.choice(LAGS)
        it.database.lag = lambda: rng.randrange(late) if rng.random() < 0.7 else 0

    def begin(self) -> None:
        """ben has been everywhere for long, ann perhaps; nobody has to be told."""
        for conv in CONVS:
            self.it.database.found(conv, "ben")
            if self.rng.random() < 0.7:
                self._join(conv)
        self._list_all()
        self.to_tell.clear()

    async def play(self) -> None:
        if self.rng.random() < 0.6:
            await self.it.enter("ben")
        for _ in range(self.rng.choice(STEPS)):
            self._step()
            while self.to_tell and self.rng.random() < 0.8:
                note = self.to_tell.pop(0)
                if self.rng.random() >= self.lost_share:
                    self.it.tell(note)
            if self.anns and self.rng.random() < 0.05:
                self.rng.choice(self.anns).vanish()
            await self.it.clock.advance(STEP_S)
            for _ in range(self.rng.choice(BETWEEN)):
                await asyncio.sleep(0)

    def _step(self) -> None:
        conv, dice = self.rng.choice(CONVS), self.rng.random()
        if dice < 0.15:
            if len(self._there()) < 2:
                self._enter()
        elif dice < 0.55:
            self._turn(conv)
            if self.rng.random() < 0.3:
                self._turn(conv)
        elif dice < 0.75:
            self.to_tell.append(self.it.database.message(conv))
        elif self.to_list:
            self.to_tell.append(self.to_list.pop(0)())

    def _there(self) -> list[Guest]:
        return [ann for ann in self.anns if not ann.ended]

    def _enter(self) -> None:
        """ann opens a connection, and perhaps resumes at positions that she may have."""
        logs, device, resume = self.it.database.logs, f"device{len(self.anns)}", None
        if self.rng.random() < 0.6:
            known = [conv for conv in CONVS if self.stays[conv] and self.rng.random() < 0.8]
            at = {conv: self.rng.randint(0, len(logs[conv])) for conv in known}
            at["account_ann"] = self.rng.randint(0, len(logs["~ann"])) if self.rng.random() < 0.9 else 0
            resume = self.it.resume("ann", device, "e1", **at)
        ann = self.it.accept()
        ann.hello("ann", device, resume=resume)
        self.anns.append(ann)

    def _turn(self, conv: str) -> None:
        """A member leaves, and who is none joins."""
        if "ann" in self.it.database.members[conv]:
            note = self.it.database.leave(conv, "ann")
            self.stays[conv][-1] = self.stays[conv][-1]._replace(left_seq=note.seq)
            self.to_list.append(lambda: self.it.database.account_left("ann", conv))
            self.to_tell.append(note)
        else:
            self._join(conv)

    def _join(self, conv: str) -> None:
        note = self.it.database.join(conv, "ann")
        self.stays[conv].append(Stay(note.seq))
        self.to_list.append(lambda: self.it.database.account_joined("ann", conv))
        self.to_tell.append(note)

    def _list_all(self) -> None:
        self.to_tell += [learn() for learn in self.to_list]
        self.to_list.clear()

    async def calm_down(self) -> None:
        """All notes arrive, everything is asked again until it is answered, and the bus tells how far the logs go."""
        self._list_all()
        self.it.tell(*self.to_tell)
        for _ in range(CALM_ROUNDS):
            await settled()
            await asyncio.sleep(RETRY_INTERVAL_S)
            await self.it.clock.advance(RETRY_INTERVAL_S)
            await settled()
            self.it.tell(HeadsNote(APP, {log: len(self.it.database.logs[log]) for log in LOGS}))
        await settled()

    async def check_who_hears_the_next_message(self) -> None:
        for conv in CONVS:
            note = self.it.database.message(conv)
            self.it.tell(note)
            await settled()
            for ann in self._there():
                heard = (conv, note.seq) in ann.entries(conv)
                assert heard == ("ann" in self.it.database.members[conv]), (conv, note.seq, ann.frames)

    def check_what_was_heard(self) -> None:
        for ann in self.anns:
            for conv in CONVS:
                seqs = [seq for _, seq in ann.entries(conv)]
                assert seqs == sorted(set(seqs)), (conv, seqs)
                for seq in seqs:
                    assert any(stay.covers(seq) for stay in self.stays[conv]), (conv, seq, self.stays[conv])


async def _played(seed: int) -> None:
    rng = random.Random(seed)
    account = rng.choice("ab")
    places = {"c": "a", "d": "b", "~ann": account} if rng.random() < 0.7 else {}
    async with hall(place_of=lambda app, log: places.get(log, "a")) as it:
        story = Story(it, rng)
        story.begin()
        await story.play()
        await story.calm_down()
        await story.check_who_hears_the_next_message()
        story.check_what_was_heard()
        assert not it.gateway.tasks.crashes


@pytest.mark.parametrize("seed", range(60))
def test_who_comes_and_goes_hears_all_that_is_theirs_once_in_order_and_nothing_else(seed: int) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(_played(seed))
