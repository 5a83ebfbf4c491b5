"""The storage port: what conversations and accounts (`Log`), users (`Directory`) and readers of the feed (`Feed`) ask.

Every method may raise `StorageUnavailable` (for certain nothing was done); reads may raise `StorageCorrupt`. "No" is an
answer, not an error. No question joins two shards; where one about many concerns several databases, None in its answer
means "unknown", never "no" or "none": one database never answers so. posthouse.testing.contracts.storage tests it all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import msgspec

from posthouse.model.conversation import Conversation, History, Kind, Member, Role
from posthouse.model.cursor import Cursor
from posthouse.model.entry import Entry
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import MemberCursor, Summary
from posthouse.storage.marks import TOP, Mark

REPEAT_WINDOW_MS = 30 * 24 * 3600 * 1000
"""A send may be repeated safely for so long after it was made (G2)."""
FUTURE_MS_MAX = 24 * 3600 * 1000
"""`made_at` may lie at most so far ahead of the database's time."""
JOIN_USERS_MAX = 1_000
"""Users that one membership entry may name."""


# What is written ------------------------------------------------------------------------------------------------


class Create(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Start a log. `members` are (user, role); repeating the same creation is answered as a duplicate."""

    kind: Kind
    members: tuple[tuple[str, Role], ...] = ()
    title: str = ""
    history: History = History.JOINED
    properties: msgspec.Raw = msgspec.Raw(b"{}")


class Join(msgspec.Struct, frozen=True, omit_defaults=True):
    """Add users; those who are members already are left as they are."""

    users: tuple[str, ...]
    role: Role = Role.MEMBER


class Leave(msgspec.Struct, frozen=True, omit_defaults=True):
    """End the membership of users; those who are no members are passed over."""

    users: tuple[str, ...]


class SetRole(msgspec.Struct, frozen=True, omit_defaults=True):
    """Give one member another role."""

    user: str
    role: Role


class Describe(msgspec.Struct, frozen=True, omit_defaults=True):
    """Change a conversation's title or properties; None leaves it as it is."""

    title: str | None = None
    properties: msgspec.Raw | None = None


class InboxChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """In an account log: the user has joined (`left_seq` 0) or left a conversation. Creates the account log."""

    conv: str
    joined_seq: int
    left_seq: int = 0


# Changes omit defaults when encoded, so that a new field with a default does not change the digest of an old change.
Change = Create | Join | Leave | SetRole | Describe | InboxChange


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """One entry to be written. (app, conv, sender, device, client_id) names it for ever (G2).

    `trusted` is the application's back end or the server itself: membership and role are not asked. `made_at_ms` 0
    is the server's own doing, which never grows too old. `body` has passed `check_body`. `change` says what else the
    same transaction does.
    """

    app: str
    conv: str
    kind: str
    client_id: str
    made_at_ms: int
    body: bytes
    sender: str = ""
    device: str = ""
    reply_to: int = 0
    mentions: tuple[str, ...] = ()
    change: Change | None = None
    trusted: bool = False


class Appended(NamedTuple):
    """The entry is committed, durably. `duplicate`: it was already, and this answer repeats the first one.

    The body of an entry that reports a change is completed with what was really done (`users` names those who joined
    or left, for instance): then `body` is what was stored. It is None when the append's own body was.
    """

    seq: int
    at_ms: int
    ordinal: int
    duplicate: bool = False
    body: bytes | None = None


class Refused(NamedTuple):
    """Not done, and why; `code`'s range says whether to repeat."""

    code: Code
    reason: str


Outcome = Appended | Refused


# What is read ---------------------------------------------------------------------------------------------------


class Page(NamedTuple):
    """A range of a log that a reader may see. `complete`: nothing visible lies beyond in the asked direction."""

    entries: tuple[Entry, ...]
    head: int
    first_seq: int
    complete: bool


class Inbox(NamedTuple):
    """What lies with one user: the account log's head, the conversations they are in, and those they have left.

    It may lag behind the conversations, in both directions: who is a member is asked with `memberships`.
    """

    user: str
    account_head: int
    convs: tuple[str, ...]
    left: tuple[str, ...] = ()


UserConv = tuple[str, str]
"""user, conv"""


class Listed(NamedTuple):
    """An item of a user's conversation list and its place: the list falls by (active_ms, conv)."""

    active_ms: int
    summary: Summary

    @property
    def mark(self) -> Mark:
        """Where the list goes on below this item."""
        return Mark(self.active_ms, self.summary.conv)


class CursorUpdate(NamedTuple):
    """One user's new positions in one conversation."""

    app: str
    user: str
    cursor: Cursor


IsWanted = Callable[[], bool]


def always() -> bool:
    """Whatever happens meanwhile."""
    return True


class Log(Protocol):
    """Conversations and account logs."""

    async def append(self, batch: Sequence[Append], is_wanted: IsWanted = always) -> list[Outcome]:
        """Write a batch in one transaction and answer each in order, once it is durable (G1).

        Atomic for each Append, not for the batch: one that fails harms only itself. Within the batch the order of
        one conversation's entries is kept. Must not be cancelled: an outcome not known for certain is settled by
        asking the log before anything is answered; where that is impossible, answers UNAVAILABLE. `is_wanted` is asked
        when the logs are locked, before each COMMIT, from any thread: False, and nothing is stored and all is BUSY.
        """
        ...

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
        """Entries after `after` (rising) or before `before` (falling; neither: from the head), as `user` may see them.

        Membership is read fresh. `user` None is the back end, who sees all. At most `limit` entries and about
        `bytes_max` bytes of bodies, at least one entry if there is any.
        """
        ...

    async def conversation(self, app: str, conv: str) -> Conversation | None:
        """The conversation's facts, or None when there is none."""
        ...

    async def members(self, app: str, conv: str, *, after: str = "", limit: int = 1_000) -> list[Member]:
        """Current members ordered by user, those after the user `after`."""
        ...

    async def member(self, app: str, conv: str, user: str) -> Member | None:
        """One current member, or None."""
        ...

    async def inboxes(self, app: str, users: Sequence[str]) -> Sequence[Inbox | None]:
        """What lies with each of many users, in the order asked, in one query a database (a storm of resumes)."""
        ...

    async def memberships(self, app: str, pairs: Sequence[UserConv]) -> Sequence[int | None]:
        """The seq with which the current membership of each (user, conv) begins, 0 where there is none, in the order
        asked, in one query a database."""
        ...

    async def heads(self, app: str, convs: Sequence[str]) -> Mapping[str, int | None]:
        """The newest seq of each of many logs, in one query a database; a log that does not exist is left out.

        Asked after a session has registered its rooms, so that what is committed later arrives live.
        """
        ...

    async def summaries(
        self, app: str, user: str, convs: Sequence[str], *, below: Mark = TOP, limit: int = 500
    ) -> list[Listed]:
        """Items of the user's conversation list, newest activity first, those below a mark: of the conversations given
        those that the user is or was a member of, with last entry, unread and mention counts, and cursors."""
        ...

    async def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        """Move cursors forward (never back, never past the head), durably. Of non-members: nothing happens.

        Answers where the cursors stand now, in no particular order; those that did not move may be left out. Raises
        `PartlyUnavailable` when some of several databases have stored their part.
        """
        ...

    async def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        """The cursors of the given members (all members when empty, for receipts on demand; at most 10,000)."""
        ...


class FeedPosition(NamedTuple):
    """A place in a database's commit order. Opaque outside the engine; (0, 0) is the beginning."""

    transaction: int
    number: int


FEED_START = FeedPosition(0, 0)


class FeedEntry(NamedTuple):
    """One committed entry with its place in the feed."""

    position: FeedPosition
    app: str
    entry: Entry


class Feed(Protocol):
    """A database's entries in commit order: skips nothing, repeats nothing before a reader's position."""

    async def tail(self, after: FeedPosition, limit: int, kinds: Sequence[str] = ()) -> list[FeedEntry]:
        """The next entries after a position that no later commit can come before; only `kinds` unless empty."""
        ...

    async def changed(self, after: FeedPosition, until: FeedPosition) -> dict[tuple[str, str], int]:
        """The newest seq of each (app, log) that has entries beyond `after` up to `until`, without reading bodies."""
        ...

    async def end(self) -> FeedPosition:
        """A position with everything committed before this call at or below it, once it is readable."""
        ...

    async def position(self, reader: str) -> FeedPosition:
        """Where a named reader stands; FEED_START when it has never stored one."""
        ...

    async def store_position(self, reader: str, position: FeedPosition) -> None:
        """Durably remember where a reader stands. Never moves it back."""
        ...


class User(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an application says about a user. `properties` is one JSON object of its own."""

    user: str
    name: str = ""
    avatar: str = ""
    properties: msgspec.Raw = msgspec.Raw(b"{}")
    blocked: bool = False
    updated_ms: int = 0


class Directory(Protocol):
    """Users as the application describes them. A user without a record may still talk: tokens decide."""

    async def put_user(self, app: str, user: User) -> User:
        """Create or replace; returns it as stored."""
        ...

    async def users(self, app: str, users: Sequence[str]) -> list[User]:
        """The records that exist among the given users, in no particular order. All of them, or it raises."""
        ...

    async def blocked(self, app: str) -> list[str]:
        """All users of the app who are blocked, so that a node can refuse them without asking each time.

        Of several databases only those that have been opened are asked; one that opens later is asked then.
        """
        ...


class Condition(NamedTuple):
    """What a database can do now, with the reason in words when something is wrong."""

    readable: bool
    writable: bool
    reason: str = ""


class Storage(Log, Directory, Protocol):
    """The system of record as the rooms above see it: one database, or several behind a router."""

    @property
    def epoch(self) -> str:
        """Changes when old positions must no longer be trusted, such as after a restore."""
        ...

    async def open(self) -> None:
        """Connect, migrate the schema, load the epoch. Raises `StorageError` saying what to do."""
        ...

    async def close(self) -> None:
        """Finish what is in flight and let go of files and connections."""
        ...


class Owner(NamedTuple):
    """Which database owns a shard, by name, and since which epoch of that shard: the higher one is the newer."""

    shard: int
    database: str
    epoch: int


class Charter(NamedTuple):
    """What a database knows of the system it belongs to: its own shards for certain, the rest as it last heard.

    `owners` is empty where nothing was dealt yet, and in an engine that is always alone. `epochs` are those of the
    databases by name, so that one that is away is not taken for changed.
    """

    owners: Sequence[Owner]
    epochs: Mapping[str, str]
    empty: bool = False
    """True where not a single log lies in it."""


class Database(Storage, Feed, Protocol):
    """One database of the system: a SQLite file, or a PostgreSQL primary. Its epoch lives in it."""

    async def probe(self) -> Condition:
        """Find out by doing: a read and a committed write. Never raises."""
        ...

    async def charter(self) -> Charter:
        """What the database says about shards and the other databases."""
        ...

    async def learn(self, charter: Charter) -> None:
        """Note what other databases say, where it is newer. A shard becomes its own only when it was dealt to it before
        anything was, or when its move here has been completed over there: never because others say so."""
        ...


@runtime_checkable
class Trimming(Protocol):
    """What an engine may offer besides: cutting a log back at its beginning."""

    async def trim(self, app: str, conv: str, first_seq: int) -> None:
        """Drop the entries below `first_seq`, durably; the newest one always stays, and numbers go on. Never back.

        What is dropped is not recognised when it is sent again: only for logs whose senders do not repeat so late.
        Raises `StorageUnavailable`, and `Moved` where another database has the log.
        """
        ...


class StorageError(Exception):
    """The base of everything the port raises. Its text may name hosts and users, and is for operators; clients get
    `code` and `told`."""

    code: Code = Code.UNAVAILABLE
    told: str = "the database cannot do this now"


class StorageUnavailable(StorageError):
    """The database cannot be reached or cannot commit; nothing was done."""


class Unwanted(StorageUnavailable):
    """Who asked for it does not want it any more; nothing was done."""

    code = Code.BUSY
    told = "the node stood still meanwhile, and nothing was stored"


class Moved(StorageUnavailable):
    """Another database owns one of the shards asked for; nothing was done. Load the shard map anew and ask there."""

    code = Code.MOVED
    told = "the conversation is being moved to another database, or has just been"


class PartlyUnavailable(StorageUnavailable):
    """Some databases have done their part and others could not. Only several databases together raise it."""

    def __init__(self, reason: str, stored: Sequence[CursorUpdate], failed: Sequence[CursorUpdate]) -> None:
        super().__init__(reason)
        self.stored = stored
        self.failed = failed


class StorageFull(StorageUnavailable):
    """The disk is full, or the file or database is read-only."""

    code = Code.STORAGE_FULL
    told = "the database takes no more data now"


class StorageCorrupt(StorageError):
    """The database is damaged where it was read."""

    code = Code.CORRUPT
    told = "the database is damaged where this lies"


def as_refusal(error: StorageError) -> Refused:
    """What a send is told that met an error: to be repeated. Also of a damaged database, for whether a send is in the
    log cannot be told."""
    return Refused(error.code if isinstance(error, StorageUnavailable) else Code.UNAVAILABLE, error.told)
