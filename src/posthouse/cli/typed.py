"""Lines of a file that may block, such as standard input, for a program on an event loop.

A daemon thread reads: a blocked read cannot be called off, and must not keep the program from ending.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

READ_AHEAD_LINES_MAX = 100
"""Lines read and not taken. Overflow: the thread waits."""


async def lines(read_line: Callable[[], str]) -> AsyncIterator[str]:
    """What `read_line` gives, without the line ends, until it gives nothing."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(READ_AHEAD_LINES_MAX)

    def read() -> None:
        line = "\n"
        while line:
            room.acquire()
            line = read_line()
            try:
                loop.call_soon_threadsafe(queue.put_nowait, line.removesuffix("\n") if line else None)
            except RuntimeError:  # the loop has ended, and the program with it
                return

    threading.Thread(target=read, daemon=True).start()
    while (line := await queue.get()) is not None:
        room.release()
        yield line
