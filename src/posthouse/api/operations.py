"""What operators and orchestrators ask: is the process alive, should it get traffic, what does it count."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from posthouse.api.errors import ApiError
from posthouse.api.service import Service
from posthouse.protocol.codes import Code

HIDDEN = "more is told to whoever shows an operator's key (operator.details)"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(msgspec.Struct, frozen=True):
    """The process runs and its event loop answers. Restart it when this fails."""

    status: str = "ok"


class ReadyPart(msgspec.Struct, frozen=True):
    """One thing that the node needs: "ok", "slow", "read-only" or "failed", and a sentence."""

    name: str
    state: str
    reason: str


class Ready(msgspec.Struct, frozen=True):
    """Whether to send clients here; `reason` is one sentence. Do not restart for this.

    `degraded`: the node is ready, and something is wrong that taking it out would not mend. `parts`: what was found.
    """

    ready: bool
    reason: str
    degraded: bool = False
    parts: tuple[ReadyPart, ...] = ()


def add_operations(
    app: web.Application, service: Service, may_see: Callable[[web.Request], bool] = lambda request: True
) -> None:
    """Serve /healthz, /readyz and /metrics. Whether a node is alive and ready is told to everybody; what is wrong with
    what, and what it counts, to whom `may_see` says: else a proxy in front must keep them inside."""

    async def healthz(request: web.Request) -> web.Response:
        return _json(Health())

    async def readyz(request: web.Request) -> web.Response:
        """`?draining=404` makes a node that drains answer so: HAProxy then keeps the sessions it has there."""
        found = service.ready()
        parts = tuple(ReadyPart(*part[:3]) for part in found.parts)
        answer = Ready(found.ready, found.reason, found.degraded, parts)
        if not may_see(request):
            answer = Ready(found.ready, HIDDEN, found.degraded)
        asked_apart = found.draining and request.query.get("draining") == "404"
        return _json(answer, status=200 if found.ready else 404 if asked_apart else 503)

    async def metrics(request: web.Request) -> web.Response:
        if not may_see(request):
            raise ApiError(Code.UNAUTHORIZED, HIDDEN)
        return web.Response(body=service.metrics_text(), headers={"Content-Type": METRICS_TYPE})

    for handler in (healthz, readyz, metrics):
        app.router.add_get(f"/{handler.__name__}", handler, name=handler.__name__)


def _json(answer: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")
