"""What one simulated database holds, in memory: changed by whole transactions, read by whole queries.

Nothing here waits. Two copies of these tables (a primary and its standby) that have applied the same transactions in
the same order hold the same.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from posthouse.model.conversation import Conversation, Interval, Kind, Member
from posthouse.model.cursor import Cursor
from posthouse.model.entry import Entry
from posthouse.model.ids import account_id, shard_of
from posthouse.protocol.frames import MemberCursor, Summary
from posthouse.storage.base import (
    Charter,
    CursorUpdate,
    FeedEntry,
    FeedPosition,
    Inbox,
    Listed,
    Owner,
    Page,
    Refused,
    User,
)
from posthouse.storage.marks import Mark
from posthouse.storage.rows import EntryRow, LogKey, LogRow, MemberRow, Needs, Plan, SendKey, Sent, State
from posthouse.storage.visible import LogFacts, Span, page_of, view_of, within

FeedRow = tuple[int, int, EntryRow]
"""transaction, number, entry"""


@dataclass(slots=True)
class ReadTo:
    """One member's cursor."""

    read: int = 0
    read_ordinal: int = 0
    delivered: int = 0


@dataclass(slots=True)
class TableLog:
    """One log with everything that belongs to it. Entry `seq` is `entries[seq - 1]`."""

    row: LogRow
    title: str
    properties: bytes
    entries: list[EntryRow] = field(default_factory=list)
    members: dict[str, list[MemberRow]] = field(default_factory=dict)
    cursors: dict[str, ReadTo] = field(default_factory=dict)
    mentions: dict[str, list[int]] = field(default_factory=dict)

    def current(self, user: str) -> MemberRow | None:
        """The user's membership of today."""
        rows = self.members.get(user)
        return rows[-1] if rows and rows[-1].until_seq is None else None


class Shard(NamedTuple):
    """What one shard holds."""

    logs: dict[LogKey, TableLog]
    sent: dict[SendKey, Sent]
    inbox: dict[tuple[str, str], dict[str, tuple[int, int]]]


class Tables:
    """All tables of one database."""

    def __init__(self) -> None:
        self.logs: dict[LogKey, TableLog] = {}
        self.sent: dict[SendKey, Sent] = {}
        self.inbox: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
        self.people: dict[tuple[str, str], User] = {}
        self.readers: dict[str, FeedPosition] = {}
        self.feed: list[FeedRow] = []
        self.charter = Charter((), {}, True)

    # Transactions -------------------------------------------------------------------------------------------------

    def load(self, needs: Needs) -> State:
        """What there is of what a batch needs."""
        logs = {key: copy(self.logs[key].row) for key in needs.logs if key in self.logs}
        sent = {key: self.sent[key] for key in needs.sends if key in self.sent}
        members = {}
        for app, conv, user in needs.members:
            log = self.logs.get((app, conv))
            row = log.current(user) if log is not None else None
            if row is not None:
                members[app, conv, user] = copy(row)
        return State(logs, sent, members)

    def write(self, plan: Plan, transaction: int) -> None:
        """Carry out the plan of a batch."""
        for row in plan.created:
            self.logs[row.app, row.conv] = TableLog(copy(row), row.title or "", row.properties or b"{}")
        for row in plan.moved:
            self._move(row)
        for number, entry in enumerate(plan.entries, 1):
            self.logs[entry.app, entry.conv].entries.append(entry)
            key = (entry.app, entry.conv, entry.sender, entry.device, entry.client_id)
            self.sent[key] = Sent(entry.seq, entry.at_ms, entry.ordinal, entry.digest)
            insort(self.feed, (transaction, number, entry), key=_place)
        for member in plan.joined:
            self.logs[member.app, member.conv].members.setdefault(member.user, []).append(copy(member))
        for member in plan.changed:
            stays = self.logs[member.app, member.conv].members[member.user]
            stays[:] = [copy(member) if each.from_seq == member.from_seq else each for each in stays]
        for mention in plan.mentions:
            self.logs[mention.app, mention.conv].mentions.setdefault(mention.user, []).append(mention.seq)
        for item in plan.inbox:
            convs = self.inbox.setdefault((item.app, item.user), {})
            joined, left = convs.get(item.conv, (0, 0))
            convs[item.conv] = max(joined, item.joined_seq), max(left, item.left_seq)

    def _move(self, row: LogRow) -> None:
        log = self.logs[row.app, row.conv]
        log.row = copy(row)
        log.title = log.title if row.title is None else row.title
        log.properties = log.properties if row.properties is None else row.properties
        log.row.title = log.row.properties = None

    def advance(self, updates: Sequence[CursorUpdate]) -> list[CursorUpdate]:
        """Move cursors forward; answers those that stand at a member's."""
        stored = []
        for app, user, cursor in updates:
            log = self.logs.get((app, cursor.conv))
            if log is None or log.current(user) is None:
                continue
            at = log.cursors.setdefault(user, ReadTo())
            read = min(cursor.read, log.row.head)
            at.read = max(at.read, read)
            at.read_ordinal = log.entries[at.read - 1].ordinal if at.read else 0
            at.delivered = max(at.delivered, read, min(cursor.delivered, log.row.head))
            stored.append(CursorUpdate(app, user, Cursor(cursor.conv, at.read, at.delivered)))
        return stored

    def put_user(self, app: str, user: User) -> None:
        """Create or replace."""
        self.people[app, user.user] = user

    def learn(self, said: Charter, name: str) -> None:
        """As `Database.learn` says. What this database, called `name`, owns only a move takes away or gives it."""
        owners = {owner.shard: owner for owner in self.charter.owners}
        for owner in said.owners:
            known = owners.get(owner.shard)
            if known is None or (known.epoch < owner.epoch and owner.database != name):
                owners[owner.shard] = owner
        rows = tuple(owners[shard] for shard in sorted(owners))
        self.charter = Charter(rows, {**self.charter.epochs, **said.epochs}, not self.logs)

    # Shards -------------------------------------------------------------------------------------------------------

    def owns(self, name: str, logs: Iterable[LogKey]) -> bool:
        """True when all shards that hold these logs are this database's, which is called `name`."""
        owners = self.charter.owners
        return not owners or all(owners[shard_of(*key, len(owners))].database == name for key in logs)

    def shard(self, number: int) -> "Shard":
        """A copy of all that one shard holds."""
        count = len(self.charter.owners)

        def here(app: str, log: str) -> bool:
            return shard_of(app, log, count) == number

        return Shard(
            {key: deepcopy(log) for key, log in self.logs.items() if here(*key)},
            {key: sent for key, sent in self.sent.items() if here(key[0], key[1])},
            {key: dict(inbox) for key, inbox in self.inbox.items() if here(key[0], account_id(key[1]))},
        )

    def take(self, shard: "Shard", owner: Owner) -> None:
        """What a shard holds arrives here. Nothing of it enters the feed: its readers have read it where it was."""
        self.logs.update(deepcopy(shard.logs))
        self.sent.update(shard.sent)
        self.inbox.update(deepcopy(shard.inbox))
        self._own(owner)

    def give(self, shard: "Shard", owner: Owner) -> None:
        """The shard is another's from now on."""
        for key in shard.logs:
            del self.logs[key]
        for send in shard.sent:
            del self.sent[send]
        for user in shard.inbox:
            del self.inbox[user]
        self._own(owner)

    def _own(self, owner: Owner) -> None:
        rows = list(self.charter.owners)
        rows[owner.shard] = owner
        self.charter = self.charter._replace(owners=tuple(rows))

    def store_position(self, reader: str, position: FeedPosition) -> None:
        """A feed reader has come so far; never back."""
        self.readers[reader] = max(position, self.readers.get(reader, position))

    # Reads --------------------------------------------------------------------------------------------------------

    def read(
        self,
        app: str,
        conv: str,
        user: str | None,
        after: int | None,
        before: int | None,
        limit: int,
        bytes_max: int,
    ) -> Page | Refused:
        """As `Log.read` says."""
        log = self.logs.get((app, conv))
        facts = None
        intervals: list[Interval] = []
        if log is not None:
            facts = LogFacts(log.row.kind, log.row.history, log.row.head, 1)
            rows = log.members.get(user or "", [])
            intervals = [Interval(row.from_seq, row.until_seq) for row in rows]
        view = view_of(conv, facts, user, intervals)
        if isinstance(view, Refused) or log is None:
            return view if isinstance(view, Refused) else Page((), 0, 1, True)
        asked = within(view.spans, after, before)
        return page_of(view, asked, _cut(log, asked, after is not None, limit, bytes_max), after is not None)

    def conversation(self, app: str, conv: str) -> Conversation | None:
        """As `Log.conversation` says."""
        log = self.logs.get((app, conv))
        if log is None:
            return None
        row = log.row
        return Conversation(
            conv=conv,
            kind=row.kind,
            head=row.head,
            title=log.title,
            history=row.history,
            members=row.members,
            created_ms=row.created_ms,
            properties=msgspec.Raw(log.properties),
        )

    def members(self, app: str, conv: str, after: str, limit: int) -> list[Member]:
        """As `Log.members` says."""
        log = self.logs.get((app, conv))
        users = sorted(user for user in log.members if user > after) if log is not None else []
        found = (self.member(app, conv, user) for user in users)
        return [member for member in found if member is not None][:limit]

    def member(self, app: str, conv: str, user: str) -> Member | None:
        """As `Log.member` says."""
        log = self.logs.get((app, conv))
        row = log.current(user) if log is not None else None
        if log is None or row is None:
            return None
        at = log.cursors.get(user, ReadTo())
        return Member(
            user=user, role=row.role, joined_seq=row.from_seq, read_seq=at.read, delivered_seq=at.delivered
        )

    def inbox_of(self, app: str, user: str) -> Inbox:
        """As `Log.inboxes` says."""
        convs = self.inbox.get((app, user), {})
        account = self.logs.get((app, account_id(user)))
        return Inbox(
            user,
            account.row.head if account is not None else 0,
            tuple(conv for conv, (joined, left) in convs.items() if joined > left),
            tuple(conv for conv, (joined, left) in convs.items() if joined <= left),
        )

    def member_since(self, app: str, user: str, conv: str) -> int:
        """As `Log.memberships` says."""
        log = self.logs.get((app, conv))
        membership = log.current(user) if log is not None else None
        return membership.from_seq if membership is not None else 0

    def heads(self, app: str, convs: Iterable[str]) -> dict[str, int]:
        """As `Log.heads` says."""
        return {conv: self.logs[app, conv].row.head for conv in convs if (app, conv) in self.logs}

    def summaries(self, app: str, user: str, convs: Iterable[str], below: Mark, limit: int) -> list[Listed]:
        """As `Log.summaries` says."""
        items = [
            self._listed(app, user, conv)
            for conv in convs
            if (app, conv) in self.logs and user in self.logs[app, conv].members
        ]
        falling = sorted(
            (item for item in items if item.mark < below), key=lambda item: item.mark, reverse=True
        )
        return falling[:limit]

    def _listed(self, app: str, user: str, conv: str) -> Listed:
        log = self.logs[app, conv]
        newest = log.members[user][-1]
        at = log.cursors.get(user, ReadTo())
        left = newest.until_seq is not None
        head = newest.until_seq or log.row.head
        floor = max(at.read, newest.from_seq)
        unread = log.row.ordinal - max(at.read_ordinal, newest.from_ordinal)
        peers = [each for each in log.members if each != user] if log.row.kind is Kind.DIRECT else []
        summary = Summary(
            conv=conv,
            kind=log.row.kind,
            role=newest.role,
            head=head,
            first_seq=1,
            joined_seq=newest.from_seq,
            title=log.title,
            peer=peers[0] if peers else "",
            members=log.row.members,
            unread=0 if left else unread,
            mentions=0 if left else sum(seq > floor for seq in log.mentions.get(user, ())),
            read=at.read,
            delivered=at.delivered,
            left=left,
            last=entry_of(log.entries[head - 1]),
        )
        return Listed(log.entries[head - 1].at_ms, summary)

    def cursors(self, app: str, conv: str, users: Sequence[str]) -> list[MemberCursor]:
        """As `Log.cursors` says."""
        members = self.members(app, conv, "", 10_000)
        wanted = set(users)
        return [
            MemberCursor(each.user, each.read_seq, each.delivered_seq)
            for each in members
            if not wanted or each.user in wanted
        ]

    # Feed ---------------------------------------------------------------------------------------------------------

    def tail(self, after: FeedPosition, below: int, limit: int, kinds: Sequence[str]) -> list[FeedEntry]:
        """The entries beyond a position, of transactions before `below`."""
        found: list[FeedEntry] = []
        for transaction, number, row in self.feed[bisect_right(self.feed, tuple(after), key=_place) :]:
            if transaction >= below or len(found) >= limit:
                break
            if not kinds or row.kind in kinds:
                found.append(FeedEntry(FeedPosition(transaction, number), row.app, entry_of(row)))
        return found

    def changed(self, after: FeedPosition, until: FeedPosition) -> dict[LogKey, int]:
        """As `Feed.changed` says."""
        newest: dict[LogKey, int] = {}
        for transaction, number, row in self.feed[bisect_right(self.feed, tuple(after), key=_place) :]:
            if (transaction, number) > tuple(until):
                break
            newest[row.app, row.conv] = max(row.seq, newest.get((row.app, row.conv), 0))
        return newest


def entry_of(row: EntryRow) -> Entry:
    """The entry as readers see it."""
    return Entry(
        conv=row.conv,
        seq=row.seq,
        kind=row.kind,
        at_ms=row.at_ms,
        ordinal=row.ordinal,
        body=msgspec.Raw(row.body),
        sender=row.sender,
        device=row.device,
        client_id=row.client_id,
        reply_to=row.reply_to,
        mentions=row.mentions,
    )


def _place(row: FeedRow) -> tuple[int, int]:
    return row[0], row[1]


def _cut(log: TableLog, asked: Sequence[Span], rising: bool, limit: int, bytes_max: int) -> list[Entry]:
    """The entries of the spans in reading order, up to the limits; the first one however large it is."""
    found: list[Entry] = []
    size = 0
    for first, last in asked:
        for seq in range(first, last + 1) if rising else range(last, first - 1, -1):
            row = log.entries[seq - 1]
            size += len(row.body)
            if len(found) >= limit or (found and size > bytes_max):
                return found
            found.append(entry_of(row))
    return found
