"""Publishing: one message to each gateway that has a recipient, and nobody is left out because little is known."""

from collections.abc import Sequence

import pytest

from posthouse.bus.base import MESSAGE_BYTES_MAX, BusUnavailable
from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.base import LogKey
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.messaging.notes import BlockNote, EntryNote, HeadsNote, Note, decode_notes
from posthouse.messaging.publish import HEADS_MAX, Publisher

GATEWAYS = ("n1", "n2", "n3")


class ForgetfulRoutes(MemoryRoutes):
    """Routes whose cache was wiped: they know of no log whether anybody follows it."""

    async def gateways(self, keys: Sequence[LogKey], among: Sequence[str]) -> list[frozenset[str] | None]:
        return [None for _ in keys]


class BrokenBus(MemoryBus):
    """A bus that is down."""

    async def publish(self, gateway: str, message: bytes) -> bool:
        raise BusUnavailable("down")


class Site:
    """Three gateways and what each was told, message by message."""

    def __init__(self, routes: MemoryRoutes | None = None, bus: MemoryBus | None = None) -> None:
        self.routes = routes or MemoryRoutes()
        self.bus = bus or MemoryBus()
        self.heard: dict[str, list[bytes]] = {name: [] for name in GATEWAYS}
        self.publisher = Publisher(self.bus, self.routes, GATEWAYS)

    async def open(self, **followed: str) -> "Site":
        """`followed` maps each gateway to the logs that it follows, a letter each."""
        for name, heard in self.heard.items():
            await self.bus.subscribe(name, heard.append)
            await self.routes.register(name, [("app", conv) for conv in followed.get(name, "")])
        return self

    def notes(self, gateway: str) -> list[list[Note]]:
        return [decode_notes(message) for message in self.heard[gateway]]


def entry(conv: str, seq: int, frame: bytes = b"frame") -> EntryNote:
    return EntryNote("app", conv, seq, frame)


async def test_each_gateway_gets_one_message_with_all_that_it_follows_in_order() -> None:
    site = await Site().open(n1="ab", n2="b")
    a1, b1, a2 = entry("a", 1), entry("b", 1), entry("a", 2)
    await site.publisher.entries([a1, b1, a2])
    assert site.notes("n1") == [[a1, b1, a2]]
    assert site.notes("n2") == [[b1]]
    assert site.notes("n3") == []
    assert site.publisher.published == 2


async def test_where_routes_are_unknown_every_gateway_is_told() -> None:
    """Unknown is not nobody (G4)."""
    site = await Site(ForgetfulRoutes()).open()
    await site.publisher.entries([entry("a", 1)])
    await site.publisher.heads("app", {"a": 1})
    assert [site.notes(name) for name in GATEWAYS] == [[[entry("a", 1)], [HeadsNote("app", {"a": 1})]]] * 3


async def test_heads_go_only_to_those_whom_they_concern() -> None:
    site = await Site().open(n1="a", n2="b")
    await site.publisher.heads("app", {"a": 4, "b": 7, "c": 1})
    assert site.notes("n1") == [[HeadsNote("app", {"a": 4})]]
    assert site.notes("n2") == [[HeadsNote("app", {"b": 7})]]


async def test_a_block_goes_to_every_gateway() -> None:
    site = await Site().open()
    await site.publisher.block("app", "ben")
    assert [site.notes(name) for name in GATEWAYS] == [[[BlockNote("app", "ben")]]] * 3


async def test_entries_that_the_bus_does_not_take_are_counted_and_nobody_is_held_up() -> None:
    site = await Site(bus=BrokenBus()).open(n1="a", n2="a")
    await site.publisher.entries([entry("a", 1), entry("a", 2)])
    assert (site.publisher.lost, site.publisher.published) == (4, 0)


async def test_heads_that_the_bus_does_not_take_are_an_error() -> None:
    """They are what makes up for lost entries: whoever tells them must tell them again."""
    site = await Site(bus=BrokenBus()).open(n1="a")
    with pytest.raises(BusUnavailable):
        await site.publisher.heads("app", {"a": 1})
    with pytest.raises(BusUnavailable):
        await site.publisher.block("app", "ben")


async def test_no_message_is_larger_than_the_bus_takes() -> None:
    site = await Site().open(n1="a")
    notes = [entry("a", seq, b"x" * 60_000) for seq in range(1, 201)]
    await site.publisher.entries(notes)
    messages = site.heard["n1"]
    assert [note for message in messages for note in decode_notes(message)] == notes
    assert max(map(len, messages)) <= MESSAGE_BYTES_MAX
    assert len(messages) == 3


async def test_very_many_heads_go_in_several_messages() -> None:
    site = await Site(ForgetfulRoutes()).open()
    heads = {f"{number:0128}": number for number in range(HEADS_MAX + 1)}
    await site.publisher.heads("app", heads)
    messages = site.heard["n1"]
    told = [note for message in messages for note in decode_notes(message)]
    assert [len(note.heads) for note in told if isinstance(note, HeadsNote)] == [HEADS_MAX, 1]
    assert max(map(len, messages)) <= MESSAGE_BYTES_MAX
