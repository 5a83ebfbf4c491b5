"""One link, many who ask: answers find their askers, a server that stands still is found out, nobody waits for ever."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import hiredis
import pytest
import uvloop

from posthouse.kit.clock import SystemClock
from posthouse.testing.valkey import LocalValkey
from posthouse.valkey.address import Login, Place
from posthouse.valkey.connecting import Access, connect
from posthouse.valkey.link import Link, LinkCounts, LinkLimits, Misconfigured, ReplyError, Unavailable
from tests.valkey.shared import Sites

HELLO = (
    b"%3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
)
LIMITS = LinkLimits(answer_timeout_s=0.2, connect_timeout_s=2.0, in_flight_bytes_max=10_000)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def access(limits: LinkLimits = LIMITS, password: str = "") -> Access:
    return Access(Login("", password), 0, None, "alone", limits, SystemClock(), LinkCounts())


@asynccontextmanager
async def serving(serve: Serve, hello: bytes = HELLO) -> AsyncIterator[Place]:
    """Where a server lets everybody in and then does as `serve` says."""

    serving: list[asyncio.Task[None] | None] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with contextlib.suppress(OSError):
            await reader.read(10_000)
            writer.write(hello)
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield Place(*server.sockets[0].getsockname())
    await asyncio.gather(*filter(None, serving))


@asynccontextmanager
async def linked_to(serve: Serve, limits: LinkLimits = LIMITS) -> AsyncIterator[Link]:
    async with serving(serve) as place:
        link = await connect(place, access(limits))
        yield link
        link.close()


async def commands_of(reader: asyncio.StreamReader) -> AsyncIterator[list[bytes]]:
    """What is asked, command by command, until the other side closes."""
    parser = hiredis.Reader(notEnoughData=None)
    while data := await reader.read(65_536):
        parser.feed(data)
        while (command := parser.gets()) is not None:
            yield command


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_many_ask_at_once_and_each_gets_its_own_answer(sites: Sites) -> None:
    site = sites["alone"]
    assert isinstance(site, LocalValkey)
    link = await connect(Place("127.0.0.1", site.port), access(LinkLimits(answer_timeout_s=5)))

    async def ask(number: int) -> bool:
        echoed, error = await link.call([("ECHO", number), ("NO SUCH", number)])
        return bool(echoed == b"%d" % number and isinstance(error, ReplyError) and error.code == "ERR")

    assert all(await asyncio.gather(*map(ask, range(500))))
    with pytest.raises(ReplyError, match="unknown command"):
        await link.ask("NONSENSE")
    link.close()
    with pytest.raises(Unavailable, match="closed"):
        _ = link.call([("PING",)])


async def test_who_gives_up_waiting_takes_nobody_elses_answer(sites: Sites) -> None:
    site = sites["alone"]
    assert isinstance(site, LocalValkey)
    link = await connect(Place("127.0.0.1", site.port), access(LinkLimits(answer_timeout_s=5)))
    first, second = link.call([("ECHO", "one")]), link.call([("ECHO", "two")])
    first.cancel()
    assert await second == [b"two"]
    link.close()


async def test_a_server_that_answers_nothing_breaks_the_link_and_all_who_wait_hear_why() -> None:
    async with linked_to(say_nothing) as link:
        waiting = [link.call([("PING",)]) for _ in range(3)]
        for call in waiting:
            with pytest.raises(Unavailable, match="has not answered for 200 ms"):
                await call
        with pytest.raises(Unavailable, match="has not answered"):
            _ = link.call([("PING",)])


async def test_a_server_that_is_slow_but_answers_one_after_the_other_keeps_its_link() -> None:
    """The last of these waits for three times the patience with a server that says nothing."""

    async def answer_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = SystemClock()
        async for _ in commands_of(reader):
            await clock.sleep(0.12)
            writer.write(b"+PONG\r\n")

    async with linked_to(answer_slowly) as link:
        assert await asyncio.gather(*(link.call([("PING",)]) for _ in range(5))) == [[b"PONG"]] * 5


async def test_what_waits_for_a_server_is_bounded() -> None:
    async with linked_to(say_nothing) as link:
        waiting = link.call([("SET", "a", b"x" * 9_000)])
        with pytest.raises(Unavailable, match="is behind"):
            _ = link.call([("SET", "a", b"x" * 9_000)])
        with pytest.raises(Unavailable, match="has not answered"):
            await waiting


async def test_one_call_of_any_size_is_let_through_when_nothing_waits() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for _ in commands_of(reader):
            writer.write(b"+OK\r\n")

    async with linked_to(answer) as link:
        for _ in range(2):
            assert await link.ask("SET", "a", b"x" * 100_000) == b"OK"
        small = [link.ask("SET", "a", b"x" * 1_000) for _ in range(8)]  # what was answered waits no more
        assert await asyncio.gather(*small) == [b"OK"] * 8


async def test_a_server_that_closes_breaks_the_link() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with linked_to(close) as link:
        with pytest.raises(Unavailable, match="closed the connection"):
            await link.ask("PING")


async def test_what_cannot_be_read_breaks_the_link_and_says_so() -> None:
    """A map whose key is a list: the parser has no error of its own for it."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%1\r\n*0\r\n:1\r\n")
        await reader.read()

    async with linked_to(babble) as link:
        assert "does not speak the protocol" in await link.broken


async def test_a_push_of_nothing_is_passed_over() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b">0\r\n+PONG\r\n")
        await reader.read()

    async with linked_to(answer) as link:
        assert await link.ask("PING") == b"PONG"


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n", b"-ERR max number of clients\r\n"])
async def test_what_is_no_answer_breaks_the_link(nonsense: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(nonsense)
        await reader.read()

    async with linked_to(babble) as link:
        await link.broken
        with pytest.raises(Unavailable):
            _ = link.call([("PING",)])


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_that_was_held_up_itself_does_not_take_the_server_for_dead(
    sites: Sites, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """The question has just gone out when its time is over."""
    site = sites["alone"]
    assert isinstance(site, LocalValkey)
    port = site.port

    async def be_late() -> None:
        link = await connect(Place("127.0.0.1", port), access())
        asked = link.call([("PING",)])
        threading.Event().wait(0.4)
        assert await asked == [b"PONG"]
        link.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(be_late())


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    with LocalValkey() as site:
        place = Place("127.0.0.1", site.port)
    with pytest.raises(Unavailable, match=rf"{place} cannot be reached"):
        await connect(place, access())
    with pytest.raises(Unavailable, match=r"no\.such\.host\.invalid:1 cannot be reached"):
        await connect(Place("no.such.host.invalid", 1), access())


async def test_a_server_that_takes_connections_and_says_nothing_is_given_up() -> None:
    async with serving(say_nothing, hello=b"") as place:
        with pytest.raises(Unavailable, match="has not answered"):
            await connect(place, access())


async def test_an_old_server_is_refused_with_a_remedy() -> None:
    async with serving(say_nothing, HELLO.replace(b"7.2.4", b"6.2.4")) as place:
        with pytest.raises(Misconfigured, match=r"version 6\.2\.4, and 7\.0 is needed: upgrade"):
            await connect(place, access())


@pytest.mark.parametrize("greeting", [b"+OK\r\n", b"%1\r\n$5\r\nproxy\r\n$1\r\nx\r\n", b"*0\r\n"])
async def test_what_greets_otherwise_is_refused_with_a_remedy(greeting: bytes) -> None:
    async with serving(say_nothing, greeting) as place:
        with pytest.raises(Misconfigured, match="does not greet as Redis or Valkey do"):
            await connect(place, access())


async def test_a_password_that_is_missing_or_wrong_is_refused_with_a_remedy_and_not_shown() -> None:
    with LocalValkey(password="right") as site:
        place = Place("127.0.0.1", site.port)
        for password in ("", "wrong-one"):
            with pytest.raises(Misconfigured, match="refuses user and password") as refused:
                await connect(place, access(password=password))
            assert "wrong-one" not in str(refused.value)
        link = await connect(place, access(password="right"))
        link.close()
