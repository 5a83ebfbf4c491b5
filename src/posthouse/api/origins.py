"""Which web pages may call from a browser (CORS). Credentials are tokens in headers, never cookies."""

from aiohttp import web

MAX_AGE_S = 600
_ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE"
_ALLOWED_HEADERS = "Authorization, Content-Type, Idempotency-Key"
"""Not X-Api-Key: an API key has no place in a web page."""


class Origins:
    """Allows the given origins, or all with "*"."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._all = "*" in allowed
        self._allowed = frozenset(allowed)

    def is_preflight(self, request: web.Request) -> bool:
        """True when a browser asks whether it may ask."""
        return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers

    def allow(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell the browser whether the page may read the response."""
        origin = request.headers.get("Origin", "")
        if not self._all:
            response.headers["Vary"] = "Origin"
        if not origin or not (self._all or origin in self._allowed):
            return
        response.headers["Access-Control-Allow-Origin"] = "*" if self._all else origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        if self.is_preflight(request):
            response.headers["Access-Control-Allow-Methods"] = _ALLOWED_METHODS
            response.headers["Access-Control-Allow-Headers"] = _ALLOWED_HEADERS
            response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
