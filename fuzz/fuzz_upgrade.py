"""Fuzzes the HTTP head that opens a WebSocket: an agreement or `Refused`, and answers that are one response each."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.gateway.upgrade import (
    Refused,
    UpgradeRequest,
    negotiate,
    parse,
    refusing,
    switching,
    target_path,
)
from posthouse.protocol import SUBPROTOCOL

ORIGINS = ("https://chat.example",)


def check(data: bytes) -> None:
    target_path(data)
    try:
        request = parse(data)
        assert target_path(data).decode("latin-1") == request.path
        _check_same(request)
        answer = switching(negotiate(request, SUBPROTOCOL, ORIGINS))
        assert answer.startswith(b"HTTP/1.1 101 ")
        body_bytes = 0
    except Refused as refused:
        answer = refusing(refused.refusal)
        body_bytes = len(answer.partition(b"\r\n\r\n")[2])
        assert body_bytes < 1_000
    head, end, body = answer.partition(b"\r\n\r\n")
    assert end
    assert len(body) == body_bytes
    assert b"\n" not in head.replace(b"\r\n", b""), "a header holds a line break"
    assert len(head) < 1_000


def _check_same(request: UpgradeRequest) -> None:
    """A request that is written anew from what was read of it is the same request."""
    target = request.path + (f"?{request.query}" if request.query else "")
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    again = parse("\r\n".join(lines).encode("latin-1"))
    assert (again.path, again.query) == (request.path, request.query)
    assert again.headers == {name: value.rstrip(" \t") for name, value in request.headers.items()}


_GOOD = [
    "GET /v1/ws?x=1 HTTP/1.1",
    "Host: localhost",
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: chat, posthouse.v1.json",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other",
    "Origin: https://chat.example",
]
SEEDS = [
    "\r\n".join(_GOOD).encode(),
    *("\r\n".join(_GOOD[:at] + _GOOD[at + 1 :]).encode() for at in range(len(_GOOD))),
]
WORDS = [
    b"\r\n",
    b"\n",
    b"\r",
    b": ",
    b":",
    b" ",
    b"\t",
    b",",
    b";",
    b"=",
    b"?",
    b"#",
    b"\x00",
    b"\xff",
    b"\x85",
    b"\xa0",
    b"Host: x\r\n",
    b"\r\n folded",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Sec-WebSocket-Key: ",
    b"websocket",
    b"Upgrade",
    b"posthouse.v1.json",
    b"permessage-deflate",
    b"server_max_window_bits=15",
    b"server_max_window_bits=8",
    b"HTTP/1.0",
    b"POST",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
    b"Origin: null\r\n",
]

FUZZER = Fuzzer(
    "upgrade",
    check,
    ("posthouse.gateway.upgrade", "posthouse.gateway.deflate"),
    SEEDS,
    WORDS,
    size_max=16_384,
)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
