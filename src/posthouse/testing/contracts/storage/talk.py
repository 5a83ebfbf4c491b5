"""Short ways to write to one app of a storage under test, and to read what is in it."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec

from posthouse.kit.clock import SystemClock
from posthouse.messaging.listing import listing
from posthouse.model import entry
from posthouse.model.conversation import Kind, Role
from posthouse.model.entry import Entry
from posthouse.model.ids import account_id, direct_id
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import Summary
from posthouse.storage.base import (
    Append,
    Appended,
    Change,
    Create,
    Database,
    InboxChange,
    Join,
    Leave,
    Outcome,
    Page,
    Refused,
)
from posthouse.storage.changes import kind_of

_apps = count(1)
_ids = count(1)


class Talk:
    """One app of a storage. Every append of all talks gets a `client_id` of its own unless one is given."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = f"app-{next(_apps)}"
        self.now_ms = SystemClock().now_ms()

    def send(self, conv: str, sender: str, text: str = "hello", **fields: Any) -> Append:
        """A message of `sender`, or whatever `fields` make of it."""
        body = msgspec.json.encode({"text": text})
        own: dict[str, Any] = {
            "client_id": f"c{next(_ids)}",
            "device": "phone",
            "made_at_ms": self.now_ms,
        }
        return Append(
            **{"app": self.app, "conv": conv, "sender": sender, "kind": entry.MESSAGE, "body": body}
            | own
            | fields
        )

    def change(self, conv: str, change: Change, sender: str = "", **fields: Any) -> Append:
        """A change by `sender`; by the back end when there is none."""
        own = {"kind": kind_of(change), "body": b"{}", "change": change, "trusted": not sender}
        return self.send(conv, sender, **own | fields)

    def group(self, conv: str, *users: str, kind: Kind = Kind.GROUP, **fields: Any) -> Append:
        """The creation of a group whose first user is its owner."""
        members = tuple((user, Role.MEMBER if at else Role.OWNER) for at, user in enumerate(users))
        return self.change(conv, Create(kind=kind, members=members, **fields))

    def direct(self, first: str, second: str, sender: str = "") -> Append:
        """The creation of a direct conversation."""
        members = ((first, Role.MEMBER), (second, Role.MEMBER))
        return self.change(direct_id(first, second), Create(kind=Kind.DIRECT, members=members), sender)

    def join(self, conv: str, *users: str, role: Role = Role.MEMBER, sender: str = "") -> Append:
        return self.change(conv, Join(users, role), sender)

    def leave(self, conv: str, *users: str, sender: str = "") -> Append:
        return self.change(conv, Leave(users), sender)

    def listed(self, conv: str, user: str, joined_seq: int, left_seq: int = 0) -> Append:
        """What puts a conversation on a user's list, or marks it as left."""
        return self.change(account_id(user), InboxChange(conv, joined_seq, left_seq))

    async def append(self, *batch: Append) -> list[Outcome]:
        return await self.database.append(batch)

    async def done(self, *batch: Append) -> list[Appended]:
        """Append all, each of which must succeed."""
        outcomes = await self.database.append(batch)
        done = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
        assert len(done) == len(batch), outcomes
        return done

    async def start(self, conv: str, *users: str, **fields: Any) -> None:
        """Create a group and put it on the lists of its members."""
        await self.done(self.group(conv, *users, **fields), *(self.listed(conv, user, 1) for user in users))

    async def say(self, conv: str, sender: str, *texts: str) -> list[Appended]:
        """Send some messages."""
        return await self.done(*(self.send(conv, sender, text) for text in texts))

    async def code(self, append: Append) -> Code:
        """Append what must be refused, and say how."""
        (outcome,) = await self.database.append([append])
        assert isinstance(outcome, Refused), outcome
        assert outcome.reason
        return outcome.code

    async def page(self, conv: str, user: str | None = None, limit: int = 1_000, **range_: Any) -> Page:
        """A page that must be readable; from the beginning unless a range is given."""
        page = await self.database.read(self.app, conv, user, limit=limit, **(range_ or {"after": 0}))
        assert isinstance(page, Page), page
        return page

    async def entries(self, conv: str, user: str | None = None) -> tuple[Entry, ...]:
        return (await self.page(conv, user)).entries

    async def seqs(self, conv: str, user: str | None = None) -> list[int]:
        return seqs(await self.entries(conv, user))

    async def texts(self, conv: str, user: str | None = None) -> list[str]:
        """The texts of the messages in a log."""
        return [text_of(each) for each in await self.entries(conv, user) if each.kind == entry.MESSAGE]


async def whole_list(talk: Talk, user: str) -> list[Summary]:
    """The user's conversation list."""
    return list((await listing(talk.database, talk.app, user)).items)


def seqs(entries: Sequence[Entry]) -> list[int]:
    """The numbers of entries, in their order."""
    return [each.seq for each in entries]


def text_of(each: Entry) -> str:
    """The text of a message."""
    return str(msgspec.json.decode(each.body)["text"])
