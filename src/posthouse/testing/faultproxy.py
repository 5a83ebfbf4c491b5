"""A TCP proxy that makes a network's faults: latency, little bandwidth, partitions (one way too), resets, half-open.

Belongs to one event loop. What a partition holds back is not lost: as by TCP, it is delivered when all is healed.
One thing is not as in a real partition: the connection itself is accepted, and only then nothing is answered.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from posthouse.kit.clock import Clock
from posthouse.kit.tasks import start

CHUNK_BYTES_MAX = 65_536
CHUNKS_HELD_MAX = 64
"""Read and not passed on yet, each way of a connection. Beyond: nothing is read, so that the sender has to wait."""
_LINGER_NOT = struct.pack("ii", 1, 0)


class Faults(NamedTuple):
    """What one connection suffers. `to_server`, `to_client`: whether that way is cut. 0 bytes a second: no limit."""

    to_server_cut: bool = False
    to_client_cut: bool = False
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    bytes_per_s: float = 0.0


NONE = Faults()
CUT = Faults(to_server_cut=True, to_client_cut=True)

Judge = Callable[[int], Awaitable[Faults]]
"""What the connection that comes from this port of the machine suffers."""


class FaultProxy:
    """Listens on 127.0.0.1:`port` (0: a free one) and passes on to `target`. `judge` decides for each connection."""

    def __init__(
        self, target: int, clock: Clock, rng: random.Random, *, port: int = 0, judge: Judge | None = None
    ) -> None:
        self.port = port
        self.target = target
        self.accepted = 0
        self.refused = 0
        """Connections that the server behind did not take."""
        self._clock = clock
        self._rng = rng
        self._faults = NONE
        self._judge = judge or self._same_for_all
        self._reviews = 0
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"<FaultProxy {self.port}->{self.target} {len(self._connections)} connections {self._faults}>"

    @property
    def listening(self) -> bool:
        """Whether it has been started."""
        return self._server is not None

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK_BYTES_MAX)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        ending = [connection.running for connection in self._connections if connection.running is not None]
        self.reset()
        if ending:
            await asyncio.wait(ending)

    async def suffer(self, faults: Faults) -> None:
        """From now on all connections, new ones too, suffer `faults`; `NONE` heals."""
        self._faults = faults
        await self.review()

    async def review(self) -> None:
        """Ask the judge again about every connection."""
        self._reviews += 1
        await asyncio.gather(*(self._judge_one(connection) for connection in self._connections))

    def reset(self, concerned: Callable[[int], bool] = lambda source: True) -> None:
        """End connections at once, as a router that forgot them does (RST): those from `concerned` ports."""
        for connection in self._chosen(concerned):
            connection.reset()

    def half_open(self, concerned: Callable[[int], bool] = lambda source: True) -> None:
        """The server's ends are closed and the clients are never told, as when a server loses its power."""
        for connection in self._chosen(concerned):
            connection.abandon()

    def _chosen(self, concerned: Callable[[int], bool]) -> list["Connection"]:
        return [connection for connection in self._connections if concerned(connection.source)]

    async def _same_for_all(self, _source: int) -> Faults:
        return self._faults

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        source: int = writer.get_extra_info("peername")[1]
        try:
            behind = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK_BYTES_MAX)
        except OSError:
            self.refused += 1
            _reset(writer)
            return
        connection = Connection(source, (reader, writer), behind, self._clock, self._rng)
        self._connections.add(connection)
        await self._judge_one(connection)
        await connection.run()
        self._connections.discard(connection)

    async def _judge_one(self, connection: "Connection") -> None:
        """Until the verdict is one that no later review has overtaken."""
        review = -1
        while review != self._reviews:
            review = self._reviews
            connection.suffer(await self._judge(connection.source))


class Connection:
    """Two sockets, and what is on its way between them. `source` is the client's port. Nothing passes until judged."""

    def __init__(
        self,
        source: int,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.source = source
        self._client = client[1]
        self._server = server[1]
        self._to_server = _Way(client[0], server[1], clock, rng, self._taken_in)
        self._to_client = _Way(server[0], client[1], clock, rng, self._taken_in)
        self.running: asyncio.Task[None] | None = None

    def suffer(self, faults: Faults) -> None:
        """From now on, both ways."""
        self._to_server.suffer(faults, faults.to_server_cut)
        self._to_client.suffer(faults, faults.to_client_cut)

    def reset(self) -> None:
        """Both ends learn at once that it is over."""
        _reset(self._client)
        _reset(self._server)
        if self.running is not None:
            self.running.cancel()

    def abandon(self) -> None:
        """The server learns that it is over; the client is neither told nor answered."""
        for way in (self._to_server, self._to_client):
            way.swallow()
        _reset(self._server)

    def _taken_in(self, way: "_Way") -> None:
        """One end says no more. Where the other has not heard of it at all, or says no more either, a partition holds
        nothing back that anybody waits for: kept until it heals, such connections would use up all there may be."""
        ways = (self._to_server, self._to_client)
        over = all(each.ended for each in ways) and any(each.cut for each in ways)
        if over or (way.cut and way.unheard):
            raise ConnectionAbortedError("nobody waits for what is held back")

    async def run(self) -> None:
        """Until both ways have ended."""
        self.running = start(self._pass_on())
        await asyncio.wait({self.running})

    async def _pass_on(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._to_server.run())
                group.create_task(self._to_client.run())
        except* OSError:
            for writer in (self._client, self._server):
                _reset(writer)
        finally:
            for writer in (self._client, self._server):
                writer.close()


class _Way:
    """One direction: taken in as it comes, let out when its time has come and the way is open."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        clock: Clock,
        rng: random.Random,
        on_end: "Callable[[_Way], None]",
    ) -> None:
        """`on_end` is told that the end that sends has ended, and may raise OSError to end all."""
        self.ended = False
        self.unheard = True
        """Nothing has been let out yet."""
        self._on_end = on_end
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._rng = rng
        self._faults = NONE
        self._open = asyncio.Event()
        self._swallows = False
        self._held: asyncio.Queue[tuple[float, bytes | OSError]] = asyncio.Queue(CHUNKS_HELD_MAX)

    @property
    def cut(self) -> bool:
        """Nothing is let out now."""
        return not self._open.is_set()

    def suffer(self, faults: Faults, cut: bool) -> None:
        self._faults = faults
        if cut:
            self._open.clear()
        else:
            self._open.set()

    def swallow(self) -> None:
        self._swallows = True
        self._open.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_in())
            group.create_task(self._let_out())

    async def _take_in(self) -> None:
        """Until the end or a break, which are passed on too, and held back by a partition like everything else."""
        taken: bytes | OSError = b" "
        while taken and not isinstance(taken, OSError):
            try:
                taken = await self._reader.read(CHUNK_BYTES_MAX)
            except OSError as error:
                taken = error
            delay_ms = self._faults.latency_ms + self._faults.jitter_ms * self._rng.random()
            await self._held.put((self._clock.monotonic() + delay_ms / 1000, taken))
        self.ended = True
        self._on_end(self)

    async def _let_out(self) -> None:
        while True:
            due, taken = await self._held.get()
            if due > self._clock.monotonic():
                await self._clock.sleep(due - self._clock.monotonic())
            await self._open.wait()
            self.unheard = False
            if isinstance(taken, OSError) and not self._swallows:
                raise taken
            if not taken or isinstance(taken, OSError):
                if not self._swallows:
                    self._writer.write_eof()
                return
            if not self._swallows:
                await self._write(taken)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        if self._faults.bytes_per_s:
            await self._clock.sleep(len(data) / self._faults.bytes_per_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
