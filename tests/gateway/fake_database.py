"""A database of the tests' own: what is committed, and when each question about it is answered.

An answer is what stood when it was asked, however long the test then holds it back.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from posthouse.messaging.notes import EntryNote
from posthouse.model.entry import (
    ACCOUNT_JOINED,
    ACCOUNT_LEFT,
    CREATED,
    MEMBER_JOINED,
    MEMBER_LEFT,
    MESSAGE,
    Entry,
)
from posthouse.model.ids import account_id
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Push, Summary
from posthouse.storage.base import (
    Append,
    Appended,
    CursorUpdate,
    Inbox,
    IsWanted,
    Listed,
    Outcome,
    Page,
    Refused,
    UserConv,
    always,
)
from posthouse.storage.marks import TOP, Mark

APP = "app"
T = TypeVar("T")


class FakeDatabase:
    """Logs, memberships and inboxes of one app. Each commit returns its note, which the test delivers or loses."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.logs: defaultdict[str, list[Entry]] = defaultdict(list)
        self.members: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.listed: defaultdict[str, set[str]] = defaultdict(set)
        self.blocked_users: list[str] = []
        self.asked: Counter[str] = Counter()
        self.faults: defaultdict[str, list[Exception]] = defaultdict(list)
        self.summaries_items: list[Summary] = []
        self.dark: set[str] = set()
        """Conversations whose database cannot be asked now."""
        self.waiting: dict[tuple[str, str], asyncio.Event] = {}
        """Questions about logs whose database answers by what stands once the event is set."""
        self.lag: Callable[[], int] = lambda: 0
        """How many turns of the event loop the next answer is late."""
        self._gates: dict[str, asyncio.Event] = {}

    # What the test does

    def hold(self, question: str) -> None:
        """Hold back the answers to a question from now on."""
        self._gates[question] = asyncio.Event()

    def release(self, question: str) -> None:
        """Answer it again, and what was asked meanwhile."""
        self._gates.pop(question).set()

    def message(self, conv: str, sender: str = "", mentions: tuple[str, ...] = ()) -> EntryNote:
        return self._commit(conv, MESSAGE, {"text": "hi"}, sender, mentions=mentions)

    def join(self, conv: str, *users: str) -> EntryNote:
        """Users become members; their account logs do not know yet."""
        self.members[conv].update(dict.fromkeys(users, len(self.logs[conv]) + 1))
        return self._commit(conv, MEMBER_JOINED if self.logs[conv] else CREATED, {"users": users})

    def leave(self, conv: str, *users: str) -> EntryNote:
        for user in users:
            self.members[conv].pop(user, None)
        return self._commit(conv, MEMBER_LEFT, {"users": users}, left=users)

    def account_joined(self, user: str, conv: str) -> EntryNote:
        """The user's account log learns of a joining."""
        self.listed[user].add(conv)
        return self._commit(account_id(user), ACCOUNT_JOINED, {"conv": conv, "joined_seq": 1})

    def account_left(self, user: str, conv: str) -> EntryNote:
        if user not in self.members[conv]:
            self.listed[user].discard(conv)
        return self._commit(account_id(user), ACCOUNT_LEFT, {"conv": conv, "left_seq": 1})

    def found(self, conv: str, *users: str) -> None:
        """A conversation that everybody has known for long."""
        self.join(conv, *users)
        for user in users:
            self.account_joined(user, conv)

    def delay(self, question: str, log: str) -> asyncio.Event:
        """Let a question about a log wait from now on, until the event is set."""
        return self.waiting.setdefault((question, log), asyncio.Event())

    # What the gateway asks

    async def inboxes(self, app: str, users: Sequence[str]) -> list[Inbox | None]:
        await self._wait("inboxes", list(map(account_id, users)))
        inboxes = [
            None
            if account_id(user) in self.dark
            else Inbox(user, len(self.logs[account_id(user)]), tuple(sorted(self.listed[user])))
            for user in users
        ]
        return await self._answer("inboxes", inboxes)

    async def memberships(self, app: str, pairs: Sequence[UserConv]) -> list[int | None]:
        await self._wait("memberships", [conv for _, conv in pairs])
        said = [None if conv in self.dark else self.members[conv].get(user, 0) for user, conv in pairs]
        return await self._answer("memberships", said)

    async def heads(self, app: str, convs: Sequence[str]) -> dict[str, int | None]:
        await self._wait("heads", convs)
        heads = {
            conv: None if conv in self.dark else len(self.logs[conv]) for conv in convs if self.logs.get(conv)
        }
        return await self._answer("heads", heads)

    async def read(
        self,
        app: str,
        conv: str,
        user: str | None,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int,
        bytes_max: int = 1 << 20,
    ) -> Page | Refused:
        known = user is None or conv == account_id(user) or user in self.members[conv]
        if not known:
            return await self._answer("read", Refused(Code.NOT_MEMBER, "not a member"))
        entries = self.logs[conv]
        page = entries[after or 0 :][:limit]
        return await self._answer("read", Page(tuple(page), len(entries), 1, len(page) < limit))

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]:
        listed = [Listed(1, summary) for summary in self.summaries_items[:limit]]
        return await self._answer("summaries", listed)

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for append in batch:
            entry = self._entry(append.conv, append.kind, msgspec.Raw(append.body), append.sender)
            outcomes.append(Appended(entry.seq, entry.at_ms, entry.ordinal))
        return await self._answer("append", outcomes)

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        return await self._answer("advance", list(updates))

    async def conversation(self, app: str, conv: str) -> None:
        return await self._answer("conversation", None)

    async def blocked(self, app: str) -> list[str]:
        return await self._answer("blocked", list(self.blocked_users))

    async def _wait(self, question: str, logs: Sequence[str]) -> None:
        for log in logs:
            if (event := self.waiting.get((question, log))) is not None:
                await event.wait()

    async def _answer(self, question: str, answer: T) -> T:
        self.asked[question] += 1
        gate = self._gates.get(question)
        fault = self.faults[question].pop(0) if self.faults[question] else None
        for _ in range(self.lag()):
            await asyncio.sleep(0)
        await (gate.wait() if gate is not None else asyncio.sleep(0))
        if fault is not None:
            raise fault
        return answer

    def _commit(
        self,
        conv: str,
        kind: str,
        body: object,
        sender: str = "",
        left: tuple[str, ...] = (),
        mentions: tuple[str, ...] = (),
    ) -> EntryNote:
        entry = self._entry(conv, kind, msgspec.Raw(msgspec.json.encode(body)), sender, mentions)
        return EntryNote(APP, conv, entry.seq, encode(Push(entry=entry)), "", left)

    def _entry(
        self, conv: str, kind: str, body: msgspec.Raw, sender: str, mentions: tuple[str, ...] = ()
    ) -> Entry:
        log = self.logs[conv]
        seq = len(log) + 1
        entry = Entry(
            conv=conv, seq=seq, kind=kind, at_ms=1, ordinal=seq, body=body, sender=sender, mentions=mentions
        )
        log.append(entry)
        return entry
