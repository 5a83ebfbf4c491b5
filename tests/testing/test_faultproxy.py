"""The fault proxy: what each fault looks like from both ends of a connection."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from posthouse.kit.clock import SystemClock
from posthouse.testing.faultproxy import CUT, NONE, FaultProxy, Faults

SOON_S = 0.2
"""Nothing that has not come by then is on its way."""


class Echo:
    """A server that says everything twice, and knows how its connections ended."""

    def __init__(self) -> None:
        self.heard = b""
        self.ends: list[str] = []
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data + data)
                await writer.drain()
            self.ends.append("end")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            self.ended.set()
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        yield echo, server.sockets[0].getsockname()[1]


@pytest.fixture
async def proxy(echo: tuple[Echo, int]) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(echo[1], SystemClock(), random.Random(0))
    await proxy.start()
    yield proxy
    await proxy.close()


@contextlib.asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def heard_nothing(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(SOON_S):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what happens at the other end sets no event here
            await asyncio.sleep(0.01)


async def test_without_faults_bytes_and_ends_pass_both_ways(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"x" * 300_000)
        writer.write_eof()
        assert len(await reader.read(-1)) == 600_000
    await until(lambda: echo[0].ends == ["end"])


async def test_a_partition_holds_back_and_healing_delivers_all_of_it_in_order(proxy: FaultProxy) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"a")
        assert await reader.readexactly(2) == b"aa"
        await proxy.suffer(CUT)
        writer.write(b"b")
        assert await heard_nothing(reader)
        writer.write(b"c")
        await proxy.suffer(NONE)
        assert sorted(await reader.readexactly(4)) == sorted(b"bbcc")


async def test_a_partition_of_one_way_lets_the_other_pass(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    async with connected(proxy) as (reader, writer):
        await proxy.suffer(Faults(to_client_cut=True))
        writer.write(b"a")
        await until(lambda: echo[0].heard == b"a")
        assert await heard_nothing(reader)
        await proxy.suffer(Faults(to_server_cut=True))
        assert await reader.readexactly(2) == b"aa"
        writer.write(b"b")
        assert await heard_nothing(reader)
        assert echo[0].heard == b"a"


async def test_a_connection_made_during_a_partition_is_not_answered_until_it_is_healed(
    proxy: FaultProxy,
) -> None:
    await proxy.suffer(CUT)
    async with connected(proxy) as (reader, writer):
        writer.write(b"a")
        assert await heard_nothing(reader)
        await proxy.suffer(NONE)
        assert await reader.readexactly(2) == b"aa"


async def test_an_end_too_is_held_back_by_a_partition(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    async with connected(proxy) as (_, writer):
        writer.write(b"a")
        await until(lambda: echo[0].heard == b"a")
        await proxy.suffer(CUT)
    await asyncio.sleep(0.05)
    assert echo[0].ends == []
    await proxy.suffer(NONE)
    await until(lambda: bool(echo[0].ends))


async def test_a_reset_reaches_both_ends(proxy: FaultProxy, echo: tuple[Echo, int]) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(2)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    await until(lambda: echo[0].ends == ["reset"])


async def test_a_half_open_connection_ends_for_the_server_and_never_for_the_client(
    proxy: FaultProxy, echo: tuple[Echo, int]
) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"a")
        await reader.readexactly(2)
        proxy.half_open()
        await until(lambda: echo[0].ends == ["reset"])
        writer.write(b"b")
        assert await heard_nothing(reader)
        assert echo[0].heard == b"a"


async def test_latency_is_there_each_way_and_delays_no_second_chunk_further(proxy: FaultProxy) -> None:
    clock = SystemClock()
    await proxy.suffer(Faults(latency_ms=60))
    async with connected(proxy) as (reader, writer):
        begun = clock.monotonic()
        for _ in range(10):
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.005)
        await reader.readexactly(20)
        taken_s = clock.monotonic() - begun
    assert taken_s >= 0.12
    assert taken_s < 10 * 0.12, "chunks wait beside each other, not one after the other"


async def test_little_bandwidth_takes_its_time(proxy: FaultProxy) -> None:
    clock = SystemClock()
    await proxy.suffer(Faults(bytes_per_s=1_000_000))
    async with connected(proxy) as (reader, writer):
        begun = clock.monotonic()
        writer.write(b"x" * 200_000)
        await reader.readexactly(400_000)
        assert clock.monotonic() - begun >= 0.3


async def test_a_server_that_is_not_there_resets_the_client(proxy: FaultProxy) -> None:
    proxy.target = 1
    async with connected(proxy) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    assert proxy.refused == 1


async def test_a_judge_decides_by_where_a_connection_comes_from(echo: tuple[Echo, int]) -> None:
    cut: set[int] = set()

    async def judge(source: int) -> Faults:
        return CUT if source in cut else NONE

    proxy = FaultProxy(echo[1], SystemClock(), random.Random(0), judge=judge)
    await proxy.start()
    try:
        async with connected(proxy) as (reader, writer), connected(proxy) as (other_reader, other_writer):
            writer.write(b"a")
            await reader.readexactly(2)
            cut.add(writer.get_extra_info("sockname")[1])
            await proxy.review()
            for each in (writer, other_writer):
                each.write(b"b")
            assert await other_reader.readexactly(2) == b"bb"
            assert await heard_nothing(reader)
    finally:
        await proxy.close()


async def test_of_a_connection_begun_while_cut_off_nothing_is_left_when_its_client_gives_up(
    echo: tuple[Echo, int], proxy: FaultProxy
) -> None:
    """Kept until the healing, as those from before the cut are, they would use up the connections of the server."""
    await proxy.suffer(CUT)
    async with connected(proxy) as (_, writer):
        writer.write(b"a")
        await writer.drain()
    await echo[0].ended.wait()
    assert echo[0].ends == ["reset"]
    assert echo[0].heard == b""


async def test_when_both_ends_have_ended_a_cut_holds_nothing_back_for_anybody(
    echo: tuple[Echo, int], proxy: FaultProxy
) -> None:
    async with connected(proxy) as (reader, writer):
        writer.write(b"a")
        assert await reader.read(2) == b"aa"
        await proxy.suffer(Faults(to_client_cut=True))
        writer.write_eof()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    assert echo[0].ends == ["end"]
