"""Serves the web application over connections that the listener hands on."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from posthouse.api.errors import ApiError
from posthouse.kit.log import logger
from posthouse.protocol.codes import Code

_log = logger(__name__)

KEEPALIVE_TIMEOUT_S = 75.0
"""How long a connection may idle between requests, the head of the next one included."""
LINGERING_TIME_S = 5.0
"""How long the rest of a body that nobody wants is read, so that the client sees the answer."""
_OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "auto_decompress": False,  # compressed bodies are refused, so none is inflated
    "keepalive_timeout": KEEPALIVE_TIMEOUT_S,
    "lingering_time": LINGERING_TIME_S,
}


async def start(app: web.Application) -> web.AppRunner:
    """A runner of the application; `protocols` serves it. End it with `cleanup()`."""
    runner = web.AppRunner(app, handle_signals=False, **_OPTIONS)
    await runner.setup()
    return runner


def protocols(
    runner: web.AppRunner, on_malformed: Callable[[int], None] = lambda status: None
) -> Callable[[], asyncio.Protocol]:
    """Makes the protocol of one connection. `on_malformed` is told the status of each request that is none."""
    server, loop = runner.server, asyncio.get_running_loop()
    assert server is not None
    return lambda: _Connection(on_malformed, server, loop=loop, **_OPTIONS)


class _Connection(web.RequestHandler):
    """Answers what is no HTTP in our own words. The framework's answer and its line in the log repeat what came, with
    the secrets that it may hold, and a line for each would let strangers fill the log."""

    __slots__ = ("_on_malformed",)

    def __init__(self, on_malformed: Callable[[int], None], *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._on_malformed = on_malformed

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last answer of this connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        code, reason = Code.INVALID_REQUEST, "this is no request of HTTP/1.1"
        if status >= 500:
            _log.error("a request failed", error=exc)
            code, reason = Code.INTERNAL, "the server met an unexpected fault"
        self._on_malformed(status)
        problem = msgspec.json.encode(ApiError(code, reason, status=status).problem())
        answer = web.Response(body=problem, status=status, content_type="application/json")
        answer.headers["Server"] = "posthouse"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.force_close()
        return answer
