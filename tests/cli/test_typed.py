"""Lines of a file that may block, on an event loop."""

import asyncio
import io
import os

from posthouse.cli.typed import READ_AHEAD_LINES_MAX, lines


async def test_every_line_comes_in_order_without_its_end() -> None:
    assert [line async for line in lines(io.StringIO("a\n\nb").readline)] == ["a", "", "b"]


async def test_more_lines_than_are_read_ahead_come_too() -> None:
    count = 3 * READ_AHEAD_LINES_MAX
    given = io.StringIO("".join(f"{n}\n" for n in range(count)))
    assert [line async for line in lines(given.readline)] == [str(n) for n in range(count)]


async def test_no_more_is_read_ahead_than_allowed() -> None:
    read = 0

    def read_line() -> str:
        nonlocal read
        read += 1
        return "x\n"

    await anext(aiter(lines(read_line)))
    await asyncio.sleep(0.05)
    assert read <= READ_AHEAD_LINES_MAX + 2


async def test_a_file_that_says_nothing_does_not_keep_the_loop_from_working() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as silent:
        with os.fdopen(write_end, "w") as speaker:
            taken = aiter(lines(silent.readline))
            first = asyncio.ensure_future(anext(taken))
            await asyncio.sleep(0.01)
            assert not first.done()
            speaker.write("hello\n")
        assert await first == "hello"
        assert [line async for line in taken] == []
