"""What the SDK asks of the REST API, as the user: conversations, members, profiles, and anything else by `request`.

Repeated safely.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from posthouse.client.errors import InvalidArgument, RequestFailed, RequestRefused
from posthouse.client.http import Answer
from posthouse.client.runtime import Runtime
from posthouse.kit.backoff import Backoff
from posthouse.kit.malformed import MALFORMED
from posthouse.model.conversation import Conversation, History, Kind, Member, Role
from posthouse.protocol.codes import Action, Code, action_of

ATTEMPTS_MAX = 4
RETRY = Backoff(first_s=0.3, factor=2.0, longest_s=5.0)
PAGE_LIMIT = 500
REASON_CHARS_MAX = 300
"""What is wrong with an answer may repeat much of it."""

T = TypeVar("T")


class ErrorBody(msgspec.Struct):
    """A refusal as the API words it."""

    code: int = 0
    reason: str = ""
    retry_after_ms: int = 0


class Created(msgspec.Struct):
    """What matters of the answer to a creation."""

    conv: str


class MembersPage(msgspec.Struct):
    """A page of members; `next_after` is empty on the last one."""

    members: tuple[Member, ...]
    next_after: str = ""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """How a user is shown to others; what was never said is empty. `avatar` is the address of a picture."""

    user: str
    name: str = ""
    avatar: str = ""


class Rest:
    """The API as one user sees it, at any of the bases that `apis` gives, the best first.

    `token(fresh)` gives the access token, a new one when `fresh`.
    """

    __slots__ = ("_apis", "_runtime", "_token")

    def __init__(
        self, apis: Callable[[], Sequence[str]], runtime: Runtime, token: Callable[[bool], Awaitable[str]]
    ) -> None:
        self._apis = apis
        self._runtime = runtime
        self._token = token

    async def create(
        self,
        kind: Kind,
        members: Sequence[str],
        *,
        conv: str = "",
        title: str = "",
        history: History | None = None,
        properties: dict[str, Any] | None = None,
    ) -> str:
        """Create a conversation, or find the one that is the same; returns its id."""
        facts: dict[str, Any] = {"kind": kind.value, "members": list(members)}
        optional = {"conv": conv, "title": title, "history": history, "properties": properties}
        facts |= {name: value for name, value in optional.items() if value}
        body = await self._change("POST", "/v1/conversations", facts)
        return _decode(body, Created).conv

    async def conversation(self, conv: str) -> Conversation:
        """The conversation's facts."""
        return _decode(await self._ask("GET", _path(conv)), Conversation)

    async def describe(self, conv: str, facts: dict[str, Any]) -> None:
        """Change the title or properties."""
        await self._change("PATCH", _path(conv), facts)

    async def members(self, conv: str, after: str) -> MembersPage:
        """A page of members, those after the user `after`."""
        query = urlencode({"after": after, "limit": PAGE_LIMIT} if after else {"limit": PAGE_LIMIT})
        return _decode(await self._ask("GET", f"{_path(conv)}/members?{query}"), MembersPage)

    async def invite(self, conv: str, users: Sequence[str], role: Role | None) -> None:
        """Add users."""
        facts: dict[str, Any] = {"users": list(users)}
        if role is not None:
            facts["role"] = role.value
        await self._change("POST", f"{_path(conv)}/members", facts)

    async def remove(self, conv: str, user: str) -> None:
        """End a membership."""
        await self._change("DELETE", f"{_path(conv)}/members/{quote(user, safe='')}", None)

    async def set_role(self, conv: str, user: str, role: Role) -> None:
        """Give a member another role."""
        await self._change("PATCH", f"{_path(conv)}/members/{quote(user, safe='')}", {"role": role.value})

    async def profile(self, user: str) -> Profile:
        """How a user is shown."""
        return _decode(await self._ask("GET", f"/v1/users/{quote(user, safe='')}"), Profile)

    async def set_profile(self, user: str, facts: dict[str, str]) -> Profile:
        """Change the name or avatar; what is left out stays as it is."""
        return _decode(await self._change("PUT", f"/v1/users/{quote(user, safe='')}", facts), Profile)

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Any request of the API's document, as `await api.request("GET", "/v1/users?ids=bob")`: the answer's JSON.

        `path` begins with `/v1/`; percent-encode ids in it. A change is carried out once, however often it had to be
        repeated. Raises `RequestRefused`, `RequestFailed` or `InvalidArgument`.
        """
        if not path.startswith("/v1/"):
            raise InvalidArgument(f"{path!r} is no path of the API: those begin with /v1/")
        method = method.upper()
        ask = self._ask if method == "GET" else self._change
        return _decode(await ask(method, path, body), Any)

    async def _change(self, method: str, path: str, facts: dict[str, Any] | None) -> bytes:
        """A request that changes something, named once so that its repetitions are known as such."""
        name = f"{self._runtime.rng.getrandbits(128):032x}"
        return await self._ask(method, path, facts, {"Idempotency-Key": name})

    async def _ask(
        self,
        method: str,
        path: str,
        facts: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Ask until there is an answer, a final refusal, or too many attempts."""
        content = msgspec.json.encode(facts) if facts is not None else None
        fresh, silent = False, 0
        failure = RequestFailed(f"{method} {path} got no answer")
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                apis = self._apis()
                url = apis[silent % len(apis)] + path
                answer = await self._once(method, url, content, headers or {}, fresh)
            except RequestFailed as error:
                failure, wait_s, silent = error, 0.0, silent + 1
            else:
                if answer.status < 300:
                    return answer.body
                error_body = _error_of(answer)
                if answer.status == 401 and not fresh:
                    fresh = True
                    continue
                if action_of(error_body.code) is not Action.RETRY:
                    raise RequestRefused(error_body.code, error_body.reason)
                failure = RequestFailed(
                    f"{method} {path} was not done: {error_body.reason} ({error_body.code})"
                )
                wait_s = max(error_body.retry_after_ms / 1000, answer.retry_after_s)
            if attempt < ATTEMPTS_MAX:
                await self._runtime.clock.sleep(
                    max(wait_s, RETRY.delay_s(attempt, self._runtime.rng.random()))
                )
        raise failure

    async def _once(
        self, method: str, url: str, content: bytes | None, headers: dict[str, str], fresh: bool
    ) -> Answer:
        sent = {"Authorization": f"Bearer {await self._token(fresh)}", **headers}
        if content is not None:
            sent["Content-Type"] = "application/json"
        return await self._runtime.http.ask(method, url, sent, content)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except MALFORMED as error:
        raise RequestFailed(f"the answer is none of this API: {str(error)[:REASON_CHARS_MAX]}") from None


def _path(conv: str) -> str:
    return f"/v1/conversations/{quote(conv, safe='')}"


def _error_of(answer: Answer) -> ErrorBody:
    """The API's own words; where something else answered, a code that says whether to repeat."""
    try:
        body = msgspec.json.decode(answer.body, type=ErrorBody)
    except MALFORMED:
        body = ErrorBody()
    if body.code:
        return body
    busy = answer.status in (408, 425, 429) or answer.status >= 500
    code = Code.UNAVAILABLE if busy else Code.UNAUTHORIZED if answer.status == 401 else Code.INVALID_REQUEST
    return ErrorBody(code, body.reason or f"HTTP status {answer.status}", body.retry_after_ms)
