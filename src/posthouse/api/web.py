"""The web application: finds the route, the caller and the limits, and turns every outcome into JSON.

Runs in the node's event loop. A handler that has begun is not cancelled when its client goes away, so a write is
always seen to its end.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import cache, partial
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import web

import posthouse
from posthouse.api import cluster, conversations, entries, members, node, users
from posthouse.api.call import Call, Context
from posthouse.api.credentials import OPERATOR_HEADER, Access, Caller, Credentials
from posthouse.api.errors import ApiError
from posthouse.api.limits import RequestLimits
from posthouse.api.openapi import document
from posthouse.api.operations import add_operations
from posthouse.api.origins import Origins
from posthouse.api.routes import Route
from posthouse.api.shapes import check_client_id
from posthouse.kit.log import logger
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageCorrupt, StorageUnavailable

_log = logger(__name__)

ROUTES: tuple[Route, ...] = tuple(
    route for part in (users, conversations, members, entries, node, cluster) for route in part.routes.all
)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAID_ONCE = ("Authorization", "X-Api-Key", OPERATOR_HEADER, "Idempotency-Key")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OnAnswer = Callable[[str, int], None]
"""Told the route's name ("unknown" for none) and the status of every answer, to count them."""


def build_api(
    context: Context, credentials: Credentials, on_answer: OnAnswer = lambda route, status: None
) -> web.Application:
    """The application, with every route under /v1 and the operators' ones beside it."""
    site = _Site(context, credentials, on_answer)
    app = web.Application(middlewares=[site.answer], client_max_size=context.settings.request_bytes_max)
    for route in ROUTES:
        path = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", route.path)
        app.router.add_route(route.method, f"/v1{path}", partial(site.run, route), name=route.name)
    app.router.add_get("/v1/openapi.json", _openapi, name="openapi")
    add_operations(
        app,
        context.service,
        lambda request: context.settings.details_open or credentials.is_operator(request.headers),
    )
    return app


@cache
def openapi_json() -> bytes:
    """The OpenAPI document of this version."""
    return msgspec.json.format(msgspec.json.encode(document(ROUTES, posthouse.__version__)), indent=2) + b"\n"


async def _openapi(request: web.Request) -> web.Response:
    return web.Response(body=openapi_json(), content_type="application/json")


class _Site:
    """Answers requests."""

    def __init__(self, context: Context, credentials: Credentials, on_answer: OnAnswer) -> None:
        self._context = context
        self._credentials = credentials
        self._limits = RequestLimits(context.settings)
        self._origins = Origins(context.settings.allowed_origins)
        self._on_answer = on_answer

    async def run(self, route: Route, request: web.Request) -> web.Response:
        """One route: who calls, how fast, what for. Raises `ApiError`."""
        _check_encoding(request.raw_path)
        _check_said_once(request)
        operator = self._credentials.is_operator(request.headers)
        caller = self._caller(route, request, operator)
        call = Call(
            self._context,
            caller,
            _idempotency_key(request),
            request.headers.get("Host", ""),
            _is_secure(request),
            operator,
        )
        query = {name: request.query.getall(name) for name in request.query}
        body = await self._body(request) if "body" in route.parts else b""
        answer = await route.run(call, request.match_info, query, body)
        return web.Response(body=answer, content_type="application/json", headers=_HEADERS)

    def _caller(self, route: Route, request: web.Request, operator: bool) -> Caller:
        if route.access is Access.OPERATOR and not operator:
            raise ApiError(Code.UNAUTHORIZED, f"give an operator's key ({OPERATOR_HEADER}: pho_…)")
        if route.access in (Access.ANYONE, Access.OPERATOR):
            return Caller("")
        clock = self._context.clock
        caller = self._credentials.caller(request.headers, clock.now_ms() / 1000)
        if not caller.is_back_end and self._context.service.is_blocked(caller.app, caller.user):
            raise ApiError(Code.BLOCKED, "the application has blocked this user")
        wait_s = self._limits.wait_s(caller.app, caller.user, clock.monotonic())
        if wait_s > 0.0:
            raise ApiError(Code.RATE_LIMITED, "too many requests", retry_after_ms=int(wait_s * 1000) + 1)
        if not route.access & (Access.BACK_END if caller.is_back_end else Access.USER):
            raise ApiError(Code.NOT_ALLOWED, "this takes the API key of the app's back end")
        return caller

    async def _body(self, request: web.Request) -> bytes:
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise ApiError(Code.INVALID_REQUEST, "compressed bodies are not taken", status=415)
        try:
            async with asyncio.timeout(self._context.settings.request_timeout_ms / 1000):
                return await request.read()
        except TimeoutError:
            raise ApiError(Code.INVALID_REQUEST, "the body did not come in time", status=408) from None

    @web.middleware
    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every outcome becomes a response here, and every response gets its CORS headers and is counted."""
        if self._origins.is_preflight(request):
            response: web.StreamResponse = web.Response(status=204)
        else:
            response = await self._outcome(request, handler)
        response.headers["Server"] = "posthouse"
        self._origins.allow(request, response)
        self._on_answer(request.match_info.route.name or "unknown", response.status)
        return response

    async def _outcome(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return _refusal(error)
        except web.HTTPException as error:
            return _refusal(_of_http(error))
        except (StorageUnavailable, StorageCorrupt) as error:
            return _refusal(ApiError(error.code, error.told))
        except (web.RequestPayloadError, ConnectionError):
            return _refusal(ApiError(Code.INVALID_REQUEST, "the body is malformed or was cut off"))
        except Exception as error:
            # The outermost layer, like a supervisor's: one request failed, the node goes on.
            _log.error("a request failed", route=request.match_info.route.name, error=error)
            return _refusal(ApiError(Code.INTERNAL, "the server met an unexpected fault"))


def _refusal(error: ApiError) -> web.Response:
    response = web.Response(
        body=msgspec.json.encode(error.problem()),
        status=error.status,
        content_type="application/json",
        headers=_HEADERS | error.headers(),
    )
    if error.status in (408, 413, 415):
        response.force_close()
    return response


def _of_http(error: web.HTTPException) -> ApiError:
    """What the web framework refuses by itself."""
    if error.status == 404:
        return ApiError(Code.NOT_FOUND, "there is no such route")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ApiError(Code.INVALID_REQUEST, f"this route takes {allowed}", status=405, allow=allowed)
    if error.status == 413:
        return ApiError(Code.INVALID_REQUEST, "the body is too large", status=413)
    return ApiError(Code.INVALID_REQUEST, error.reason, status=error.status)


def _check_encoding(raw_path: str) -> None:
    """Each id has one spelling: percent signs that encode nothing, or no UTF-8, are refused."""
    if _BAD_PERCENT.search(raw_path):
        raise ApiError(Code.INVALID_REQUEST, "the URL is not percent-encoded")
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise ApiError(Code.INVALID_REQUEST, "the URL does not encode UTF-8") from None


def _check_said_once(request: web.Request) -> None:
    """Of two, a proxy in front may have looked at the other one."""
    for name in _SAID_ONCE:
        if len(request.headers.getall(name, ())) > 1:
            raise ApiError(Code.INVALID_REQUEST, f"{name} is given twice")


def _idempotency_key(request: web.Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    try:
        check_client_id(key)
    except ValueError as error:
        raise ApiError(Code.INVALID_REQUEST, f"Idempotency-Key: {error}") from None
    return key


def _is_secure(request: web.Request) -> bool:
    """Behind a proxy that ends TLS, as it says itself; believed, for it only shapes the answer to this request."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
