"""Fuzzes what a Redis or Valkey may answer: replies in their order, or a link that is broken and says why."""

import asyncio
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

import hiredis

from fuzz.loop import Fuzzer, main
from posthouse.kit.clock import ManualClock
from posthouse.valkey.link import Link, LinkCounts, LinkLimits, Reply, ReplyError, Unavailable


class Wire:
    """A transport that leads nowhere."""

    def writelines(self, parts: list[bytes]) -> None:
        pass

    def abort(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


_MORE = object()
HUGE = re.compile(rb"[*%~>|]\+?\d{5}")
"""hiredis makes room for as many parts as are announced, and cannot be told a limit. A server that announces what it
does not send is not one of ours: whoever writes there is the service (docs/security.md)."""


def replies(data: bytes) -> list[Reply]:
    """What a link would hand on of these bytes."""
    if HUGE.search(data):
        return []
    reader = hiredis.Reader(replyError=ReplyError, notEnoughData=_MORE)
    reader.feed(data)
    found: list[Reply] = []
    with suppress(hiredis.ProtocolError, TypeError):  # as a link, which breaks then
        while (reply := reader.gets()) is not _MORE:
            found.append(reply)
    return found


def check(data: bytes) -> None:
    if HUGE.search(data):
        return
    whole = asyncio.run(_heard([data]))
    for size in (1, 7):
        pieces = [data[at : at + size] for at in range(0, min(len(data), 300 * size), size)]
        short = b"".join(pieces)
        expected = whole if short == data else asyncio.run(_heard([short]))
        assert asyncio.run(_heard(pieces)) == expected, f"in pieces of {size} it reads otherwise"


async def _heard(pieces: list[bytes]) -> tuple[list[str], list[str], str]:
    """Answers to three calls of one, two and one commands; pushes; why it broke, if it did."""
    pushes: list[str] = []

    def on_push(push: list[Any]) -> None:
        pushes.append(repr(push))

    link = Link("cache", LinkLimits(), ManualClock(), on_push, LinkCounts())
    link.connection_made(cast("asyncio.Transport", Wire()))
    calls = [link.call([("PING",)] * count) for count in (1, 2, 1)]
    for piece in pieces:
        if not link.broken.done():
            link.data_received(piece)
    why = link.broken.result() if link.broken.done() else ""
    link.close()
    return [_said(call) for call in calls], pushes, why


def _said(call: asyncio.Future[list[Any]]) -> str:
    if isinstance(error := call.exception(), Unavailable):
        return "unavailable"
    assert error is None, error
    return repr(call.result())


SEEDS = [
    b"+PONG\r\n+OK\r\n:5\r\n$2\r\nok\r\n",
    b"-ERR no\r\n-MOVED 5 h:1\r\n_\r\n#t\r\n,1.5\r\n",
    b">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n*2\r\n:1\r\n*1\r\n$-1\r\n%1\r\n+a\r\n:1\r\n~1\r\n+x\r\n",
    b">3\r\n+ssubscribe\r\n$1\r\nc\r\n:1\r\n(12345678901234567890\r\n=5\r\ntxt:a\r\n!3\r\nERR\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
]
WORDS = [
    b"\r\n", b"+", b"-", b":", b"$", b"*", b">", b"%", b"~", b"#t", b"_", b",inf", b",nan", b"(", b"=", b"!", b"|1\r\n",
    b"$-1\r\n", b"*-1\r\n", b"$536870912\r\n", b"*1\r\n" * 20, b">0\r\n", b">1\r\n", b">1\r\n_\r\n", b"\xff", b"$?\r\n",
    b"*2000\r\n", b">1\r\n*0\r\n",
]  # fmt: skip

FUZZER = Fuzzer("valkey_replies", check, ("posthouse.valkey.link",), SEEDS, WORDS, size_max=5_000, cost=3)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
