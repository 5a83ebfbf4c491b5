"""The planner: what a batch of appends does to the logs it touches. Pure; shared by every engine.

An engine locks the rows of `needs(batch).logs` in order, *then*, in later statements, loads the rest, calls `plan`, and
writes its rows in the same transaction. Each append is decided on what those before it in the batch left behind; one
that is refused leaves nothing. For repeated sends, which are rare, see `unsure`.
"""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from posthouse.model.conversation import may_send
from posthouse.model.entry import COUNTING_KINDS, CUSTOM_PREFIX, MESSAGE
from posthouse.protocol.codes import Action, Code, action_of
from posthouse.storage.base import (
    FUTURE_MS_MAX,
    REPEAT_WINDOW_MS,
    Append,
    Appended,
    Change,
    Create,
    Outcome,
    Refused,
)
from posthouse.storage.changes import KINDS_OF_CHANGES, NOT_FOUND, NOT_MEMBER, Done, apply, kind_of
from posthouse.storage.draft import Draft
from posthouse.storage.rows import (
    EntryRow,
    LogKey,
    LogRow,
    MemberKey,
    MentionRow,
    Needs,
    Plan,
    SendKey,
    Sent,
    State,
)
from posthouse.storage.wellformed import malformed, users_of

SHARDS = 64
LOOKS_AFTER_REPEAT = 20
"""After a repeated send, so many batches are looked through for others."""


def needs(batch: Sequence[Append]) -> Needs:
    """What must be loaded to plan `batch`. Nothing for a malformed append, whose keys no database could look up."""
    logs: set[LogKey] = set()
    sends: dict[SendKey, None] = {}
    members: dict[MemberKey, None] = {}
    for append in batch:
        if malformed(append) is not None:
            continue
        app, conv, sender = append.app, append.conv, append.sender
        logs.add((app, conv))
        sends[app, conv, sender, append.device, append.client_id] = None
        if not append.trusted:
            members[app, conv, sender] = None
        if append.mentions:
            members.update(dict.fromkeys((app, conv, user) for user in append.mentions))
        if append.change is not None and not isinstance(append.change, Create):
            members.update(dict.fromkeys((app, conv, user) for user in users_of(append.change)))
    return Needs(sorted(logs), list(sends), list(members))


def plan(batch: Sequence[Append], state: State, now_ms: int, shards: int = SHARDS) -> Plan:
    """Decide each append in order. `state` holds what was found of `needs(batch)`; `now_ms` is the database's time."""
    draft = Draft(state, now_ms, shards)
    return draft.finish([_decide(draft, append) for append in batch])


def unsure(batch: Sequence[Append], planned: Plan) -> list[SendKey]:
    """Of a batch planned without looking for repeated sends: those to look for before anything is written or answered.

    What was planned as a new entry is none of them: the unique index of sends guards it.
    """
    pairs = zip(batch, planned.outcomes, strict=True)
    late = [append for append, outcome in pairs if type(outcome) is not Appended or outcome.duplicate]
    return needs(late).sends if late else []


def refused_for_now(outcomes: Sequence[Outcome]) -> Refused | None:
    """The first refusal that is to be repeated, if there is one: what follows in a batch must not overtake it (G3)."""
    refusals = (outcome for outcome in outcomes if isinstance(outcome, Refused))
    return next((each for each in refusals if action_of(each.code) is Action.RETRY), None)


class Repeats:
    """Whether to look for repeated sends before a batch is written, or to leave finding them to the unique index.

    They come in bursts, when connections were lost: after one was found, the next batches are looked through at once.
    """

    __slots__ = ("_looks_left",)

    def __init__(self) -> None:
        self._looks_left = 0

    @property
    def expected(self) -> bool:
        """True when the next batch should be looked through."""
        return self._looks_left > 0

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Hear how a batch went that was looked through."""
        found = any(type(outcome) is Appended and outcome.duplicate for outcome in outcomes)
        self._looks_left = LOOKS_AFTER_REPEAT if found else max(0, self._looks_left - 1)


def content_digest(append: Append) -> bytes:
    """16 bytes that differ when a send with the same key has other content. Raises `UnicodeEncodeError`."""
    mentions = "\0".join(append.mentions)
    head = f"{append.kind}\0{append.reply_to}\0{len(append.mentions)}\0{mentions}\0".encode()
    change = msgspec.json.encode(append.change) if append.change is not None else b""
    return blake2b(head + append.body + change, digest_size=16).digest()


def _decide(draft: Draft, append: Append) -> Outcome:
    refused = malformed(append)
    if refused is not None:
        return refused
    key = (append.app, append.conv, append.sender, append.device, append.client_id)
    try:
        digest = content_digest(append)
    except UnicodeEncodeError:
        return Refused(Code.INVALID_REQUEST, "the change contains a lone surrogate")
    known = draft.sent.get(key)
    if known is not None:
        return _repeat(known, digest)
    own_doing = append.trusted and append.made_at_ms == 0
    if append.made_at_ms < draft.now_ms - REPEAT_WINDOW_MS and not own_doing:
        return Refused(Code.TOO_OLD, "made longer ago than the repeat window, and not in the log")
    if append.made_at_ms > draft.now_ms + FUTURE_MS_MAX:
        return Refused(Code.BAD_TIME, "made_at lies more than a day ahead of the server's time")
    outcome = (
        _send(draft, append, digest)
        if append.change is None
        else _change(draft, append, append.change, digest)
    )
    if type(outcome) is Appended and not outcome.duplicate:
        draft.sent[key] = draft.entries[-1]
    return outcome


def _repeat(known: Sent | EntryRow, digest: bytes) -> Outcome:
    if known.digest != digest:
        return Refused(Code.CONFLICT, f"this client_id is entry {known.seq}, with other content")
    return Appended(known.seq, known.at_ms, known.ordinal, duplicate=True)


def _send(draft: Draft, append: Append, digest: bytes) -> Outcome:
    """An entry that changes nothing but the log's head."""
    log = draft.log((append.app, append.conv))
    if append.kind in KINDS_OF_CHANGES:
        return Refused(Code.UNKNOWN_KIND, f"{append.kind} is written only by the change it reports")
    if not append.trusted:
        refused = _may_not_send(draft, append, log)
        if refused is not None:
            return refused
    if log is None:
        return NOT_FOUND
    if append.reply_to > log.head:
        return Refused(
            Code.INVALID_CONTENT, f"reply_to names entry {append.reply_to}, but the newest is {log.head}"
        )
    return _write(draft, append, draft.writable(log), digest, append.body)


def _may_not_send(draft: Draft, append: Append, log: LogRow | None) -> Refused | None:
    member = draft.member((append.app, append.conv, append.sender))
    if member is None or log is None:
        return NOT_MEMBER
    if append.kind != MESSAGE and not append.kind.startswith(CUSTOM_PREFIX):
        return Refused(
            Code.UNKNOWN_KIND, f"clients write {MESSAGE!r} or kinds that begin with {CUSTOM_PREFIX!r}"
        )
    if not may_send(log.kind, member.role):
        return Refused(Code.NOT_ALLOWED, f"a {member.role} of this {log.kind} may not send")
    return None


def _change(draft: Draft, append: Append, change: Change, digest: bytes) -> Outcome:
    """An entry that reports what the same transaction changes."""
    if append.kind != kind_of(change):
        return Refused(
            Code.INVALID_REQUEST, f"{type(change).__name__} is reported by an entry {kind_of(change)!r}"
        )
    if append.reply_to or append.mentions:
        return Refused(Code.INVALID_CONTENT, "an entry that reports a change neither replies nor mentions")
    done = apply(draft, append, change, digest)
    return _write(draft, append, done.log, digest, done.body) if isinstance(done, Done) else done


def _write(draft: Draft, append: Append, log: LogRow, digest: bytes, body: bytes) -> Appended:
    """Take the next number. `log` is the draft's own."""
    seq = log.head + 1
    ordinal = log.ordinal + 1 if append.kind in COUNTING_KINDS else log.ordinal
    log.head, log.ordinal, log.active_ms = seq, ordinal, draft.now_ms
    app, conv = append.app, append.conv
    row = EntryRow(
        app, conv, seq, log.shard, append.kind, append.sender, append.device, append.client_id,
        digest, draft.now_ms, ordinal, body, append.reply_to, append.mentions,
    )  # fmt: skip
    draft.entries.append(row)
    if append.mentions:
        for user in dict.fromkeys(append.mentions):
            if draft.member((app, conv, user)) is not None:
                draft.mentions.append(MentionRow(app, conv, user, seq))
    return Appended(seq, draft.now_ms, ordinal, False, body if body is not append.body else None)
