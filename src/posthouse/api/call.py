"""One request being answered: who calls, and what a handler may do about it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from zlib import crc32

from posthouse.api.credentials import Caller
from posthouse.api.errors import ApiError
from posthouse.api.operating import Cluster
from posthouse.api.service import Reader, Service
from posthouse.api.settings import ApiSettings
from posthouse.auth.tokens import TokenIssuer
from posthouse.kit.clock import Clock
from posthouse.model.ids import account_user
from posthouse.protocol.codes import Code
from posthouse.storage.base import Append, Appended, Change, Refused
from posthouse.storage.changes import kind_of

USER_LOCKS = 64


def _locks() -> tuple[asyncio.Lock, ...]:
    return tuple(asyncio.Lock() for _ in range(USER_LOCKS))


@dataclass(frozen=True, slots=True)
class Context:
    """What all requests share. `new_id` gives a fresh random name each time."""

    service: Service
    reader: Reader
    issuer: TokenIssuer
    settings: ApiSettings
    clock: Clock
    new_id: Callable[[], str]
    cluster: Cluster
    user_locks: tuple[asyncio.Lock, ...] = field(default_factory=_locks)

    def user_lock(self, app: str, user: str) -> asyncio.Lock:
        """Held while a user's record is read, changed and written, so that no change is lost to another here."""
        return self.user_locks[crc32(f"{app}\0{user}".encode()) % USER_LOCKS]


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `key` is its Idempotency-Key, or empty; `host` its Host, unchecked.

    `is_operator`: whoever calls has shown an operator's key, whatever the route asks for.
    """

    context: Context
    caller: Caller
    key: str = ""
    host: str = ""
    secure: bool = False
    is_operator: bool = False

    @property
    def reader(self) -> Reader:
        """Where to read."""
        return self.context.reader

    @property
    def app(self) -> str:
        """The caller's app: leads every question, so that no caller reaches another app's data."""
        return self.caller.app

    def client_id(self) -> str:
        """The name of the entry that this request writes: the same each time the request is repeated with its key."""
        return self.key or self.context.new_id()

    def derived_id(self) -> str:
        """An id for what this request creates; from its key if it has one, so that a repetition means the same."""
        if not self.key:
            return self.context.new_id()
        parts = "\0".join((*self.caller, self.key))
        return blake2b(parts.encode(), digest_size=16).hexdigest()

    async def change(self, conv: str, change: Change) -> Appended:
        """Write an entry that changes a conversation; raises `ApiError` when it is refused."""
        return await self.append(
            Append(
                app=self.app,
                conv=conv,
                kind=kind_of(change),
                client_id=self.client_id(),
                made_at_ms=self.context.clock.now_ms(),
                body=b"{}",
                sender=self.caller.user,
                device=self.caller.device,
                change=change,
                trusted=self.caller.is_back_end,
            )
        )

    async def append(self, append: Append) -> Appended:
        """Write one entry; raises `ApiError` when it is refused. Account logs are written by the server only."""
        if account_user(append.conv) is not None:
            raise ApiError(Code.NOT_ALLOWED, "account logs are written by the server only")
        outcome = await self.context.service.append(append)
        if isinstance(outcome, Refused):
            raise ApiError(outcome.code, outcome.reason)
        return outcome

    def must_bring_together(self) -> None:
        """Raise `ApiError` unless the caller may begin conversations and add to them."""
        if not (self.caller.is_back_end or self.context.settings.users_create_conversations):
            raise ApiError(
                Code.NOT_ALLOWED,
                "only the app's back end brings users together (api.users_create_conversations)",
            )

    async def must_know(self, conv: str) -> None:
        """Raise `ApiError` unless the caller may know of a conversation: a member may, and the back end."""
        if account_user(conv) is not None:
            raise ApiError(Code.NOT_FOUND, "account logs have no members; read their entries")
        if self.caller.is_back_end:
            if await self.reader.conversation(self.app, conv) is None:
                raise ApiError(Code.NOT_FOUND, "there is no such conversation")
        elif await self.reader.member(self.app, conv, self.caller.user) is None:
            raise ApiError(Code.NOT_MEMBER, "you are not a member of this conversation, or it does not exist")
