"""The playground's own process: brings it up and does what commands ask through a socket in its folder.

Started by the keeper. Ends when it is told to, or when its standard input closes because the keeper is gone.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from posthouse.kit.clock import Clock, SystemClock
from posthouse.kit.tasks import start
from posthouse.testing.playground.part import Part, PartFailed
from posthouse.testing.playground.plan import SOCKET_FILE, Answer, ClusterStatus, Refused, Request, read_plan
from posthouse.testing.playground.playground import VERBS, Playground
from posthouse.testing.playground.programs import ProgramMissing, find_programs
from posthouse.testing.releases import NoHistory

REQUEST_BYTES_MAX = 1 << 20


class Service:
    """Answers commands about one playground."""

    def __init__(self, playground: Playground, clock: Clock) -> None:
        self._playground = playground
        self._clock = clock
        self._begun = clock.monotonic()
        self._seconds = 0.0
        self._state = "starting"
        self._failure = Refused("")
        self.ended = asyncio.Event()

    async def bring_up(self) -> None:
        """Start everything; what goes wrong is told to whoever asks for the status."""
        try:
            await self._playground.start()
        except (PartFailed, Refused, NoHistory, OSError, TimeoutError) as error:
            self._state = "failed"
            self._failure = (
                error if isinstance(error, Refused) else Refused(str(error) or "It took too long.")
            )
        else:
            self._state = "up"
        self._seconds = self._clock.monotonic() - self._begun

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request a line, one answer a line."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                answer = await self._answer(msgspec.json.decode(line, type=Request))
                writer.write(msgspec.json.encode(answer) + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._done(request)
        except (Refused, PartFailed, OSError) as error:
            return Answer(error=str(error) or repr(error), todo=getattr(error, "todo", ""))

    async def _done(self, request: Request) -> Answer:
        if request.do == "status":
            return Answer(status=await self._status())
        if request.do == "down":
            self.ended.set()
            return Answer()
        if request.do == "add-node":
            return Answer(parts=((await self._playground.add_node()).name,))
        if request.do == "transactions":
            return Answer(numbers={"transactions": await self._playground.transactions()})
        parts = await self._acted(request.do, request.what, request.how)
        return Answer(parts=tuple(part.name for part in parts))

    async def _acted(self, do: str, what: str, how: Mapping[str, Any]) -> list[Part]:
        playground, way = self._playground, str(how.get("way", "both"))
        if do in VERBS:
            return await playground.act(do, what)
        match do:
            case "cut" if "others" in how:
                return await playground.cut_from(what, how["others"], way)
            case "cut":
                return await playground.cut(what, way)
            case "slow":
                return await playground.slow(what, float(how["latency_ms"]), float(how["bytes_per_s"]))
            case "heal":
                return await playground.heal(what)
            case "reset" | "half-open":
                return await playground.reset(what, told=do == "reset")
            case "upgrade":
                return await playground.upgrade(what)
            case "hang":
                return await playground.hang(what)
            case "fill-disk" | "free-disk" | "slow-disk" | "mend-disk":
                delay_ms = float(how.get("delay_ms", 0.0))
                return await playground.disk(what, do.removesuffix("-disk"), delay_ms)
        raise Refused(f"A playground cannot {do!r}.")

    async def _status(self) -> ClusterStatus:
        playground = self._playground
        running = self._clock.monotonic() - self._begun
        return ClusterStatus(
            state=self._state,
            seconds=round(self._seconds or running, 1),
            address=playground.address,
            folder=str(playground.folder),
            error=str(self._failure),
            todo=self._failure.todo,
            proxied=playground.plan.proxied,
            pid=os.getpid(),
            parts=tuple(await playground.status()),
        )


async def main(folder: Path) -> None:
    """Serve until told to end."""
    clock = SystemClock()
    try:
        programs = find_programs()
    except ProgramMissing as error:
        sys.exit(str(error))
    playground = Playground(folder, read_plan(folder), programs, clock)
    service = Service(playground, clock)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.ended.set)
    loop.add_reader(sys.stdin.fileno(), service.ended.set)
    descriptor = os.open(folder, os.O_RDONLY)
    server = await asyncio.start_unix_server(
        service.serve, f"/proc/self/fd/{descriptor}/{SOCKET_FILE}", limit=REQUEST_BYTES_MAX
    )
    coming_up = start(service.bring_up())
    await service.ended.wait()
    coming_up.cancel()
    server.close()
    await playground.close()
    # Whatever still runs is killed by the keeper.


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
