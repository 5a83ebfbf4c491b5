"""A client that asks for much and reads nothing, on a bare socket. The server must rid itself of it."""

import asyncio
import socket
import struct
from urllib.parse import urlsplit

from posthouse.kit.clock import Clock
from posthouse.protocol import SUBPROTOCOL
from posthouse.protocol.codec import encode
from posthouse.protocol.frames import ClientFrame, Fetch, Hello

RECEIVE_BYTES = 4096
FETCHES = 200
PING_INTERVAL_S = 0.2
PATIENCE_S = 30.0
_REQUEST = (
    "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
)
_FINAL_TEXT, _MASKED, _LONG = 0x81, 0x80, 126
_PING = b"\x89\x80" + bytes(4)


async def refuse_to_read(url: str, token: str, device: str, conv: str, clock: Clock) -> bool:
    """Ask for pages of a log until the server hangs up; False when it did not within `PATIENCE_S`."""
    host = urlsplit(url).netloc
    with socket.socket() as line:
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        name, _, port = host.partition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await loop.sock_connect(line, (name, int(port)))
                await loop.sock_sendall(line, _REQUEST.format(host=host).encode())
                await loop.sock_recv(line, RECEIVE_BYTES)  # it is a WebSocket now
                await loop.sock_sendall(line, _framed(Hello(token=token, device=device)))
                await loop.sock_recv(line, RECEIVE_BYTES)  # and we are in
                for ref in range(1, FETCHES + 1):
                    await loop.sock_sendall(line, _framed(Fetch(ref=ref, conv=conv, after=0, limit=200)))
                while True:
                    await loop.sock_sendall(line, _PING)
                    await clock.sleep(PING_INTERVAL_S)
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def _framed(frame: ClientFrame) -> bytes:
    """As a client must mask it; a mask of zeros changes nothing."""
    message = encode(frame)
    length = len(message)
    header = (
        bytes((_FINAL_TEXT, _MASKED | length))
        if length < _LONG
        else struct.pack("!BBH", _FINAL_TEXT, _MASKED | _LONG, length)
    )
    return header + bytes(4) + message
