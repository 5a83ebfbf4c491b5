"""What operators and orchestrators ask: is the process alive, should it get traffic, what does it count."""

import msgspec
from aiohttp import web

from posthouse.api.service import Service

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(msgspec.Struct, frozen=True):
    """The process runs and its event loop answers. Restart it when this fails."""

    status: str = "ok"


class Ready(msgspec.Struct, frozen=True):
    """Whether to send clients here; `reason` is one sentence. Do not restart for this."""

    ready: bool
    reason: str


def add_operations(app: web.Application, service: Service) -> None:
    """Serve /healthz, /readyz and /metrics. They need no credentials: a proxy in front may keep them private."""

    async def healthz(request: web.Request) -> web.Response:
        return _json(Health())

    async def readyz(request: web.Request) -> web.Response:
        ready, reason = service.ready()
        return _json(Ready(ready, reason), status=200 if ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=service.metrics_text(), headers={"Content-Type": METRICS_TYPE})

    for handler in (healthz, readyz, metrics):
        app.router.add_get(f"/{handler.__name__}", handler, name=handler.__name__)


def _json(answer: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")
