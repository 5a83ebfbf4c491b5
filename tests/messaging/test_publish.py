"""Publishing: the own gateway by a call, each other one with a recipient by one message, and nobody left out."""

import asyncio
from collections.abc import Sequence

from posthouse.bus.base import MESSAGE_BYTES_MAX, BusUnavailable
from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.base import LogKey
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.kit.tasks import start
from posthouse.messaging import publish
from posthouse.messaging.notes import (
    BlockNote,
    EntryNote,
    EventsNote,
    HeadsNote,
    Note,
    OpenedNote,
    decode_notes,
)
from posthouse.messaging.publish import HEADS_MAX, Publisher

GATEWAYS = ("n1", "n2", "n3")


class ForgetfulRoutes(MemoryRoutes):
    """Routes whose cache was wiped: they know of no log whether anybody follows it."""

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        return [None for _ in keys]


class FlakyBus(MemoryBus):
    """A bus that is down for the gateways in `down`."""

    def __init__(self, down: Sequence[str] = ()) -> None:
        super().__init__()
        self.down = set(down)

    async def publish(self, gateway: str, message: bytes) -> bool:
        if gateway in self.down:
            raise BusUnavailable("down")
        return await super().publish(gateway, message)


class Site:
    """A publisher with three other gateways, and what each of them and the own one was told."""

    def __init__(self, routes: MemoryRoutes | None = None, bus: MemoryBus | None = None) -> None:
        self.routes = routes or MemoryRoutes()
        self.bus = bus or MemoryBus()
        self.heard: dict[str, list[bytes]] = {name: [] for name in GATEWAYS}
        self.own: list[Note] = []
        self.live: Sequence[str] = GATEWAYS
        self.publisher = Publisher(self.bus, self.routes, lambda: self.live)
        self.publisher.local = self.own.extend

    async def open(self, **followed: str) -> "Site":
        """`followed` maps each gateway to the logs that it follows, a letter each."""
        for name, heard in self.heard.items():
            await self.bus.subscribe(name, heard.append)
            await self.routes.register(name, [("app", conv) for conv in followed.get(name, "")])
        return self

    async def post(self, *notes: Note) -> None:
        self.publisher.post(notes)
        await self.publisher.flush()

    def notes(self, gateway: str) -> list[list[Note]]:
        return [decode_notes(message) for message in self.heard[gateway]]


def entry(conv: str, seq: int, frame: bytes = b"frame") -> EntryNote:
    return EntryNote("app", conv, seq, frame)


async def test_each_gateway_gets_one_message_with_all_that_it_follows_in_order() -> None:
    site = await Site().open(n1="ab", n2="b")
    a1, b1, a2 = entry("a", 1), entry("b", 1), entry("a", 2)
    await site.post(a1, b1, a2)
    assert site.notes("n1") == [[a1, b1, a2]]
    assert site.notes("n2") == [[b1]]
    assert site.notes("n3") == []
    assert site.publisher.published == 2


async def test_the_own_gateway_hears_at_once_and_needs_neither_cache_nor_bus() -> None:
    site = await Site(bus=FlakyBus(GATEWAYS)).open()
    site.publisher.post([entry("a", 1)])
    assert site.own == [entry("a", 1)]


async def test_what_is_posted_while_a_message_is_under_way_follows_it_in_order() -> None:
    site = await Site(ForgetfulRoutes()).open()
    running = start(site.publisher.run())
    for seq in range(1, 50):
        site.publisher.post([entry("a", seq)])
        if seq % 7 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    running.cancel()
    told = [note for notes in site.notes("n1") for note in notes]
    assert told == [entry("a", seq) for seq in range(1, 50)]


async def test_where_routes_are_unknown_every_gateway_is_told() -> None:
    """Unknown is not nobody (G4)."""
    site = await Site(ForgetfulRoutes()).open()
    await site.post(entry("a", 1))
    assert await site.publisher.heads({"app": {"a": 1}}) == {}
    assert [site.notes(name) for name in GATEWAYS] == [[[entry("a", 1)], [HeadsNote("app", {"a": 1})]]] * 3


async def test_who_is_gone_is_told_nothing() -> None:
    site = await Site(ForgetfulRoutes()).open()
    site.live = ("n2",)
    await site.post(entry("a", 1))
    await site.publisher.heads({"app": {"a": 1}})
    assert [len(site.heard[name]) for name in GATEWAYS] == [0, 2, 0]


async def test_heads_go_only_to_those_whom_they_concern() -> None:
    site = await Site().open(n1="a", n2="b")
    await site.publisher.heads({"app": {"a": 4, "b": 7, "c": 1}})
    assert site.notes("n1") == [[HeadsNote("app", {"a": 4})]]
    assert site.notes("n2") == [[HeadsNote("app", {"b": 7})]]
    assert site.own == [HeadsNote("app", {"a": 4, "b": 7, "c": 1})]


async def test_what_concerns_everybody_goes_to_every_gateway() -> None:
    site = await Site().open()
    await site.post(BlockNote("app", "ben"), EventsNote((b"event",)))
    assert [site.notes(name) for name in GATEWAYS] == [
        [[BlockNote("app", "ben"), EventsNote((b"event",))]]
    ] * 3


async def test_an_opened_session_is_told_where_that_user_has_others() -> None:
    site = await Site().open(n2="ab")
    opened = OpenedNote("app", "a", "phone", "s", 1)
    await site.post(opened)
    assert [site.notes(name) for name in GATEWAYS] == [[], [[opened]], []]


async def test_notes_that_the_bus_does_not_take_are_counted_and_nobody_is_held_up() -> None:
    site = await Site(bus=FlakyBus(["n1"])).open(n1="a", n2="a")
    await site.post(entry("a", 1), entry("a", 2))
    assert (site.publisher.lost, len(site.notes("n2"))) == (2, 1)


async def test_notes_to_a_gateway_that_nobody_listens_for_count_as_lost() -> None:
    site = await Site().open(n1="a")
    await site.bus.unsubscribe("n1")
    await site.post(entry("a", 1))
    assert site.publisher.lost == 1


async def test_heads_that_could_not_be_handed_over_are_given_back_and_the_others_were_told() -> None:
    """They are what makes up for lost entries: whoever tells them must tell them again."""
    site = await Site(bus=FlakyBus(["n1"])).open(n1="ab", n2="a", n3="b")
    await site.bus.unsubscribe("n3")
    untold = await site.publisher.heads({"app": {"a": 1, "b": 2}})
    assert untold == {"n1": {"app": {"a": 1, "b": 2}}, "n3": {"app": {"b": 2}}}
    assert site.notes("n2") == [[HeadsNote("app", {"a": 1})]]


async def test_what_waits_too_long_is_dropped_oldest_first_and_counted() -> None:
    """Whatever the bus does, a node's memory is bounded (G7); repair tells of what was dropped."""
    site = await Site(ForgetfulRoutes()).open()
    size = publish.WAITING_BYTES_MAX // 8
    site.publisher.post([entry("a", seq, bytes(size)) for seq in range(1, 11)])
    assert 1 <= site.publisher.lost < 10
    await site.publisher.flush()
    told = [note.seq for notes in site.notes("n1") for note in notes if isinstance(note, EntryNote)]
    assert told == list(range(site.publisher.lost + 1, 11))


async def test_no_message_is_larger_than_the_bus_takes() -> None:
    site = await Site().open(n1="a")
    notes = [entry("a", seq, b"x" * 60_000) for seq in range(1, 201)]
    await site.post(*notes)
    messages = site.heard["n1"]
    assert [note for message in messages for note in decode_notes(message)] == notes
    assert max(map(len, messages)) <= MESSAGE_BYTES_MAX
    assert len(messages) == 3


async def test_very_many_heads_go_in_several_messages() -> None:
    site = await Site(ForgetfulRoutes()).open()
    await site.publisher.heads({"app": {f"{number:0128}": number for number in range(HEADS_MAX + 1)}})
    messages = site.heard["n1"]
    told = [note for message in messages for note in decode_notes(message)]
    assert [len(note.heads) for note in told if isinstance(note, HeadsNote)] == [HEADS_MAX, 1]
    assert max(map(len, messages)) <= MESSAGE_BYTES_MAX
