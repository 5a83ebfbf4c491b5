"""Refusals over HTTP: one exception, one shape, one table from the catalogue's codes to statuses."""

from typing import Final

import msgspec

from posthouse.protocol.codes import Action, Code, action_of

REASON_CHARS_MAX = 300
RETRY_AFTER_MS: Final = 1_000
"""When to repeat what was refused for now, where nothing better is known."""

STATUSES: Final[dict[Code, int]] = {
    Code.UNAUTHORIZED: 401,
    Code.TOKEN_INVALID: 401,
    Code.TOKEN_EXPIRED: 401,
    Code.BLOCKED: 403,
    Code.NOT_ALLOWED: 403,
    Code.NOT_FOUND: 404,
    Code.NOT_MEMBER: 404,
    Code.CONFLICT: 409,
    Code.EXISTS: 409,
    Code.HELD_BACK: 409,
    Code.GONE: 410,
    Code.INVALID_REQUEST: 400,
    Code.INVALID_CONTENT: 422,
    Code.UNKNOWN_KIND: 422,
    Code.TOO_MANY_MEMBERS: 422,
    Code.TOO_OLD: 422,
    Code.BAD_TIME: 422,
    Code.RATE_LIMITED: 429,
    Code.IN_FLIGHT_LIMIT: 429,
    Code.INTERNAL: 500,
    Code.CORRUPT: 500,
    Code.UNAVAILABLE: 503,
    Code.MOVED: 503,
    Code.BUSY: 503,
    Code.STORAGE_FULL: 503,
    Code.OVERLOADED: 503,
    Code.DRAINING: 503,
    Code.NODE_STOPPING: 503,
}

WRITING: Final = (404, 409, 422)
"""How the database refuses to write an entry: no such conversation, in conflict with what there is, not acceptable."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a request was refused. `code` and `name` are of the catalogue (docs/codes.md); `reason` is for people."""

    code: int
    name: str
    reason: str
    retry_after_ms: int = 0


class ApiError(Exception):
    """Ends a request with a refusal. `status` overrides the table's for what only HTTP knows; `allow` names the methods
    of a path that has no other."""

    def __init__(
        self, code: Code, reason: str, *, status: int = 0, retry_after_ms: int = 0, allow: str = ""
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = _printable(reason)
        self.status = status or STATUSES.get(code, 500)
        again = action_of(code) is Action.RETRY or self.status == 503
        self.retry_after_ms = retry_after_ms or (RETRY_AFTER_MS if again else 0)
        self.allow = allow

    def problem(self) -> Problem:
        """What the body says."""
        return Problem(self.code, self.code.name.lower(), self.reason, self.retry_after_ms)

    def headers(self) -> dict[str, str]:
        """What the head says."""
        headers = {}
        if self.retry_after_ms:
            headers["Retry-After"] = str(-(-self.retry_after_ms // 1000))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.allow:
            headers["Allow"] = self.allow  # RFC 9110, 15.5.6: a 405 must say what there is
        return headers


def _printable(reason: str) -> str:
    """Without line breaks and the like, which may come from what a stranger sent."""
    return "".join(char if char.isprintable() else "�" for char in reason[:REASON_CHARS_MAX])
