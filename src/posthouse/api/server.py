"""Serves the web application over connections that the listener hands on."""

from aiohttp import web

KEEPALIVE_TIMEOUT_S = 75.0
"""How long a connection may idle between requests, the head of the next one included."""
LINGERING_TIME_S = 5.0
"""How long the rest of a body that nobody wants is read, so that the client sees the answer."""


async def start(app: web.Application) -> web.AppRunner:
    """A runner whose `server` makes one asyncio protocol a connection. End it with `cleanup()`."""
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        auto_decompress=False,  # compressed bodies are refused, so none is inflated
        keepalive_timeout=KEEPALIVE_TIMEOUT_S,
        lingering_time=LINGERING_TIME_S,
    )
    await runner.setup()
    return runner
