"""Tables in memory that load and write what an engine does, for testing the planner alone."""

from collections.abc import Sequence
from copy import copy, deepcopy

from posthouse.storage.append import needs, plan, unsure
from posthouse.storage.base import Append, Outcome
from posthouse.storage.rows import (
    EntryRow,
    InboxRow,
    LogKey,
    LogRow,
    MemberRow,
    MentionRow,
    Plan,
    Sent,
    State,
)

NOW_MS = 1_700_000_000_000


class Tables:
    """Raises `AssertionError` where a unique index of a database would."""

    def __init__(self) -> None:
        self.logs: dict[LogKey, LogRow] = {}
        self.entries: list[EntryRow] = []
        self.members: list[MemberRow] = []
        self.mentions: list[MentionRow] = []
        self.inbox: list[InboxRow] = []

    def append(self, *batch: Append, now_ms: int = NOW_MS) -> list[Outcome]:
        """Plan a batch and write what was planned; the loaded state must not have been touched."""
        state = self.load(batch)
        before = deepcopy(state)
        planned = plan(batch, state, now_ms)
        assert state == before, "the planner modified what it was given"
        self._check_unlooked(batch, state, planned, now_ms)
        self._write(planned)
        return planned.outcomes

    def _check_unlooked(self, batch: Sequence[Append], state: State, looked: Plan, now_ms: int) -> None:
        """As engines do it, repeated sends are looked for only where that matters, or the unique index objects."""
        planned = plan(batch, state._replace(sent={}), now_ms)
        known = {key: state.sent[key] for key in unsure(batch, planned) if key in state.sent}
        if known and not self._objects(planned):
            planned = plan(batch, state._replace(sent=known), now_ms)
        assert planned == looked or self._objects(planned)

    def _objects(self, planned: Plan) -> bool:
        """Whether a unique index of sends would refuse these rows."""
        stored = {_send_key(each) for each in self.entries}
        return any(_send_key(each) in stored for each in planned.entries)

    def load(self, batch: Sequence[Append]) -> State:
        wanted = needs(batch)
        assert wanted.logs == sorted(set(wanted.logs))
        for keys in wanted:
            assert len(keys) == len(set(keys))
        logs = {key: copy(self.logs[key]) for key in wanted.logs if key in self.logs}
        for log in logs.values():
            log.title = log.properties = None
        sent = {_send_key(each): each for each in self.entries if _send_key(each) in wanted.sends}
        current = {(row.app, row.conv, row.user): copy(row) for row in self.members if row.until_seq is None}
        members = {key: current[key] for key in wanted.members if key in current}
        return State(
            logs,
            {key: Sent(each.seq, each.at_ms, each.ordinal, each.digest) for key, each in sent.items()},
            members,
        )

    def log(self, conv: str) -> list[EntryRow]:
        return [entry for entry in self.entries if entry.conv == conv]

    def current(self, conv: str) -> list[MemberRow]:
        return [row for row in self.members if row.conv == conv and row.until_seq is None]

    def _write(self, planned: Plan) -> None:
        for log in planned.created:
            assert (log.app, log.conv) not in self.logs
            self.logs[log.app, log.conv] = copy(log)
        for log in planned.moved:
            stored = self.logs[log.app, log.conv]
            stored.head, stored.ordinal = log.head, log.ordinal
            stored.active_ms, stored.members = log.active_ms, log.members
        for log in planned.described:
            stored = self.logs[log.app, log.conv]
            stored.title = stored.title if log.title is None else log.title
            stored.properties = stored.properties if log.properties is None else log.properties
        for row in planned.changed:
            (member,) = [each for each in self.members if _interval(each) == _interval(row)]
            member.until_seq, member.role = row.until_seq, row.role
        self.members += map(copy, planned.joined)
        assert len({_interval(each) for each in self.members}) == len(self.members)
        self.entries += planned.entries
        assert len({(each.app, each.conv, each.seq) for each in self.entries}) == len(self.entries)
        assert len({_send_key(each) for each in self.entries}) == len(self.entries)
        self.mentions += planned.mentions
        self.inbox += planned.inbox


def _send_key(entry: EntryRow) -> tuple[str, str, str, str, str]:
    return (entry.app, entry.conv, entry.sender, entry.device, entry.client_id)


def _interval(row: MemberRow) -> tuple[str, str, str, int]:
    return (row.app, row.conv, row.user, row.from_seq)
