"""The planner: what a batch of appends does to the logs it touches. Pure; shared by every engine.

An engine locks the rows of `needs(batch).logs` in their order, *then*, in later statements, loads the rest, calls
`plan`, and writes its rows in the same transaction. Each append is decided on what those before it in the batch
left behind; one that is refused leaves nothing.
"""

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from posthouse.model.conversation import may_send
from posthouse.model.entry import COUNTING_KINDS, CUSTOM_PREFIX, MESSAGE
from posthouse.protocol.codes import Code
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


def needs(batch: Sequence[Append]) -> Needs:
    """What must be loaded to plan `batch`. Nothing for a malformed append, whose keys no database could look up."""
    logs: set[LogKey] = set()
    sends: set[SendKey] = set()
    members: set[MemberKey] = set()
    for append in batch:
        if malformed(append) is not None:
            continue
        app, conv = append.app, append.conv
        logs.add((app, conv))
        sends.add((app, conv, append.sender, append.device, append.client_id))
        if not append.trusted:
            members.add((app, conv, append.sender))
        if append.mentions:
            members.update((app, conv, user) for user in append.mentions)
        if append.change is not None and not isinstance(append.change, Create):
            members.update((app, conv, user) for user in users_of(append.change))
    return Needs(sorted(logs), sorted(sends), sorted(members))


def plan(batch: Sequence[Append], state: State, now_ms: int, shards: int = SHARDS) -> Plan:
    """Decide each append in order. `state` holds what was found of `needs(batch)`; `now_ms` is the database's time."""
    draft = Draft(state, now_ms, shards)
    return draft.finish([_decide(draft, append) for append in batch])


def content_digest(append: Append) -> bytes:
    """16 bytes that differ when a send with the same key has other content. Raises `UnicodeEncodeError`."""
    head = f"{append.kind}\0{append.reply_to}\0{len(append.mentions)}\0" + "\0".join(append.mentions)
    digest = blake2b(head.encode(), digest_size=16)
    digest.update(b"\0")
    digest.update(append.body)
    if append.change is not None:
        digest.update(msgspec.json.encode(append.change))
    return digest.digest()


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
        draft.sent[key] = Sent(outcome.seq, outcome.at_ms, outcome.ordinal, digest)
    return outcome


def _repeat(known: Sent, digest: bytes) -> Outcome:
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
    draft.entries.append(
        EntryRow(
            app=app,
            conv=conv,
            seq=seq,
            shard=log.shard,
            kind=append.kind,
            sender=append.sender,
            device=append.device,
            client_id=append.client_id,
            digest=digest,
            at_ms=draft.now_ms,
            ordinal=ordinal,
            body=body,
            reply_to=append.reply_to,
            mentions=append.mentions,
        )
    )
    for user in dict.fromkeys(append.mentions):
        if draft.member((app, conv, user)) is not None:
            draft.mentions.append(MentionRow(app, conv, user, seq))
    return Appended(seq, draft.now_ms, ordinal, False, body if body is not append.body else None)
