"""A connection without any library: every byte is the test's."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.gateway.peers import HOST, Peer
from tests.security.serving import PATIENCE_S


@asynccontextmanager
async def raw(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """A TCP connection."""
    reader, writer = await asyncio.open_connection(HOST, port, ssl=tls)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


async def answer(port: int, request: bytes) -> bytes:
    """All that comes back for some bytes, until the server closes or has said nothing for a moment."""
    async with raw(port) as peer:
        peer.send(request)
        heard = b""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(PATIENCE_S):
                while part := await peer.reader.read(65_536):
                    heard += part
        return heard


async def answered_head(port: int, request: bytes) -> bytes:
    """The head of what comes back."""
    async with raw(port) as peer:
        peer.send(request)
        return (await peer.read_response()).encode()
