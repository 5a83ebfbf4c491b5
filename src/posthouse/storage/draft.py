"""The working copy of a batch: what is loaded, overlaid by what the appends so far have changed. Pure.

The loaded `State` is never modified: whatever is handed out for change is a copy of this draft's own.
"""

from msgspec.structs import replace

from posthouse.model.conversation import Kind, Role
from posthouse.model.ids import shard_of
from posthouse.storage.base import Append, Outcome
from posthouse.storage.rows import (
    EntryRow,
    InboxRow,
    LogKey,
    LogRow,
    MemberKey,
    MemberRow,
    MentionRow,
    Plan,
    SendKey,
    Sent,
    State,
)


class Draft:
    """Collects the rows of one batch."""

    def __init__(self, state: State, now_ms: int, shards: int) -> None:
        self._state = state
        self.now_ms = now_ms
        self.shards = shards
        self.sent: dict[SendKey, Sent | EntryRow] = dict(state.sent)
        self.entries: list[EntryRow] = []
        self.created: dict[LogKey, LogRow] = {}
        self.moved: dict[LogKey, LogRow] = {}
        self.joined: list[MemberRow] = []
        self.changed: list[MemberRow] = []
        self.mentions: list[MentionRow] = []
        self.inbox: list[InboxRow] = []
        self._members: dict[MemberKey, MemberRow | None] = {}

    def log(self, key: LogKey) -> LogRow | None:
        """The log as it stands after the appends so far."""
        return self.moved.get(key) or self.created.get(key) or self._state.logs.get(key)

    def start(self, append: Append, kind: Kind) -> LogRow:
        """A new log, without entries yet."""
        shard = shard_of(append.app, append.conv, self.shards)
        log = LogRow(app=append.app, conv=append.conv, shard=shard, kind=kind, created_ms=self.now_ms)
        log.title, log.properties = "", b"{}"
        self.created[append.app, append.conv] = log
        return log

    def writable(self, log: LogRow) -> LogRow:
        """The draft's own copy of `log`, which will be written."""
        key = (log.app, log.conv)
        own = self.created.get(key) or self.moved.get(key)
        if own is None:
            own = self.moved[key] = replace(log)
        return own

    def member(self, key: MemberKey) -> MemberRow | None:
        """The user's current membership after the appends so far."""
        if key in self._members:
            return self._members[key]
        return self._state.members.get(key)

    def join(self, log: LogRow, user: str, role: Role, seq: int) -> None:
        """Begin a membership with the entry `seq`."""
        row = MemberRow(log.app, log.conv, user, role, seq, log.ordinal)
        self._members[log.app, log.conv, user] = row
        self.joined.append(row)
        log.members += 1

    def leave(self, log: LogRow, user: str, seq: int) -> None:
        """End a current membership with the entry `seq`."""
        key = (log.app, log.conv, user)
        self._writable_member(key).until_seq = seq
        self._members[key] = None
        log.members -= 1

    def set_role(self, key: MemberKey, role: Role) -> None:
        """Give a current member another role."""
        self._writable_member(key).role = role

    def finish(self, outcomes: list[Outcome]) -> Plan:
        """The rows to write."""
        moved = list(self.moved.values())
        described = [log for log in moved if log.title is not None or log.properties is not None]
        return Plan(outcomes, self.entries, list(self.created.values()), moved, described,
                    self.joined, self.changed, self.mentions, self.inbox)  # fmt: skip

    def _writable_member(self, key: MemberKey) -> MemberRow:
        row = self._members.get(key)
        if row is None:
            row = self._members[key] = replace(self._state.members[key])
            self.changed.append(row)
        return row
