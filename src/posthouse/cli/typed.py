"""Lines of a file that may block, such as standard input, for a program on an event loop.

A daemon thread reads: a blocked read cannot be called off, and must not keep the program from ending.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TextIO

READ_AHEAD_LINES_MAX = 100
"""Lines read and not taken. Overflow: the thread waits."""


async def lines(file: TextIO) -> AsyncIterator[str]:
    """The file's lines without their ends, until it ends."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(READ_AHEAD_LINES_MAX)
    threading.Thread(target=_read, args=(file, loop, queue, room), daemon=True).start()
    while (line := await queue.get()) is not None:
        room.release()
        yield line


def _read(
    file: TextIO,
    loop: asyncio.AbstractEventLoop,
    queue: "asyncio.Queue[str | None]",
    room: threading.Semaphore,
) -> None:
    while True:
        room.acquire()
        line = file.readline()
        try:
            loop.call_soon_threadsafe(queue.put_nowait, line.removesuffix("\n") if line else None)
        except RuntimeError:  # the loop has ended, and the program with it
            return
        if not line:
            return
