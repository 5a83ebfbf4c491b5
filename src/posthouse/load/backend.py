"""The back end of an application under load, over REST with an API key: it makes groups, members and tokens.

Everything it asks may be repeated, so a server that is killed and comes back is waited for, up to `PATIENCE_S`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

import msgspec

from posthouse.client.errors import RequestFailed, RequestRefused
from posthouse.client.http import Answer
from posthouse.client.runtime import Runtime
from posthouse.kit.backoff import Backoff
from posthouse.kit.malformed import MALFORMED
from posthouse.model.conversation import Kind
from posthouse.model.entry import Entry
from posthouse.protocol.codes import Action, Code, action_of

PATIENCE_S = 60.0
"""A server that does not answer for so long is given up."""
REQUESTS_MAX = 24
"""Requests at once; further ones wait their turn."""
USERS_PER_REQUEST = 1_000
ENTRIES_PER_REQUEST = 200
_RETRY = Backoff(first_s=0.05, factor=2.0, longest_s=1.0)

T = TypeVar("T")


class Token(msgspec.Struct):
    """The answer to `POST /v1/tokens`."""

    token: str


class Written(msgspec.Struct):
    """The answer to a change of members: the entry that reports it."""

    seq: int


class Page(msgspec.Struct):
    """A range of a log."""

    entries: tuple[Entry, ...]
    complete: bool


class Listed(msgspec.Struct):
    """A page of a user's conversations; their details do not matter here."""

    items: tuple[msgspec.Raw, ...]


class Problem(msgspec.Struct):
    """Why a request was refused."""

    code: int = 0
    reason: str = ""
    retry_after_ms: int = 0


class Backend:
    """Speaks for one app. Raises `RequestRefused` for what cannot be, `RequestFailed` when patience is at its end."""

    def __init__(self, address: str, api_key: str, runtime: Runtime) -> None:
        self._address = address.rstrip("/")
        self._headers = {"X-Api-Key": api_key, "Content-Type": "application/json"}
        self._runtime = runtime
        self._asking = asyncio.Semaphore(REQUESTS_MAX)

    async def check_key(self) -> None:
        """Ask for nothing in particular, once: a key that is not the server's is refused as unauthorized."""
        path = "/v1/users?ids=nobody"
        answer = await self._runtime.http.ask("GET", self._address + path, self._headers)
        if answer.status >= 300:
            raise _put_off(f"GET {path}", answer)[0]

    async def token(self, user: str, device: str = "") -> str:
        """An access token for a user's device."""
        return (await self._ask("POST", "/v1/tokens", Token, {"user": user, "device": device})).token

    async def create_group(self, conv: str, members: Sequence[str], title: str = "") -> None:
        """Create a group with its first members, however many."""
        first, rest = members[:USERS_PER_REQUEST], members[USERS_PER_REQUEST:]
        facts = {"kind": Kind.GROUP, "conv": conv, "members": first, "title": title}
        await self._ask("POST", "/v1/conversations", msgspec.Raw, facts)
        for at in range(0, len(rest), USERS_PER_REQUEST):
            await self.add(conv, rest[at : at + USERS_PER_REQUEST])

    async def add(self, conv: str, users: Sequence[str]) -> int:
        """Make users members; returns the seq of the entry that says so."""
        return (await self._ask("POST", f"{_path(conv)}/members", Written, {"users": users})).seq

    async def remove(self, conv: str, user: str) -> int:
        """End a membership; returns the seq of the entry that says so."""
        return (await self._ask("DELETE", f"{_path(conv)}/members/{quote(user, safe='')}", Written)).seq

    async def put_user(self, user: str, **facts: object) -> None:
        """Say something about a user, such as `blocked=True`."""
        await self._ask("PUT", f"/v1/users/{quote(user, safe='')}", msgspec.Raw, facts)

    async def log(self, conv: str) -> list[Entry]:
        """The whole log, from entry 1 on."""
        entries: list[Entry] = []
        while True:
            after = entries[-1].seq if entries else 0
            path = f"{_path(conv)}/entries?after={after}&limit={ENTRIES_PER_REQUEST}"
            page = await self._ask("GET", path, Page)
            entries += page.entries
            if page.complete or not page.entries:
                return entries

    async def conversations_of(self, user: str) -> int:
        """How many conversations a user's list holds; 500 stands for that many or more."""
        path = f"/v1/conversations?user={quote(user, safe='')}&limit=500"
        return len((await self._ask("GET", path, Listed)).items)

    async def metric(self, name: str) -> float:
        """The value of one of the node's metrics, such as `posthouse_loads_total`. Raises KeyError."""
        answer = await self._runtime.http.ask("GET", f"{self._address}/metrics", {})
        for line in answer.body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise KeyError(name)

    async def _ask(
        self, method: str, path: str, shape: type[T], facts: Mapping[str, object] | None = None
    ) -> T:
        body = None if facts is None else msgspec.json.encode(facts)
        clock = self._runtime.clock
        give_up_at = clock.monotonic() + PATIENCE_S
        attempt = 0
        while True:
            attempt += 1
            try:
                async with self._asking:
                    answer = await self._runtime.http.ask(method, self._address + path, self._headers, body)
                if answer.status < 300:
                    return msgspec.json.decode(answer.body, type=shape)
                failure, wait_s = _put_off(f"{method} {path}", answer)
            except RequestFailed as error:
                failure, wait_s = error, 0.0
            if clock.monotonic() > give_up_at:
                raise failure
            await clock.sleep(max(wait_s, _RETRY.delay_s(attempt, self._runtime.rng.random())))


def _path(conv: str) -> str:
    return f"/v1/conversations/{quote(conv, safe='')}"


def _put_off(request: str, answer: Answer) -> tuple[RequestFailed, float]:
    """The refusal, and how long the server asks to wait; raises `RequestRefused` when repeating is useless."""
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except MALFORMED:
        problem = Problem()
    reason = problem.reason or f"HTTP status {answer.status}"
    if answer.status >= 500 or answer.status == 429 or action_of(problem.code) is Action.RETRY:
        return RequestFailed(f"{request} was not done: {reason}"), max(
            problem.retry_after_ms / 1000, answer.retry_after_s
        )
    raise RequestRefused(problem.code or Code.INVALID_REQUEST, reason)
