"""Changes of a conversation and its membership: who may make them, and what they do. Pure.

Each returns a refusal, or the log to write to and the body that reports what was really done. A change that would
change nothing is answered like a duplicate of the newest entry, and nothing is written.
"""

from typing import NamedTuple

import msgspec

from posthouse.model import entry
from posthouse.model.content import check_body
from posthouse.model.conversation import MANAGING_ROLES, MEMBERS_MAX, Kind, Role
from posthouse.model.errors import InvalidContent, InvalidId
from posthouse.model.ids import account_id, account_user, check_conversation_id, direct_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    Append,
    Appended,
    Change,
    Create,
    Describe,
    InboxChange,
    Join,
    Leave,
    Outcome,
    Refused,
    SetRole,
)
from posthouse.storage.draft import Draft
from posthouse.storage.rows import InboxRow, LogRow

NOT_MEMBER = Refused(Code.NOT_MEMBER, "the user is not a member of this conversation, or it does not exist")
NOT_FOUND = Refused(Code.NOT_FOUND, "there is no such conversation")

_KINDS: dict[type[Change], str] = {
    Create: entry.CREATED,
    Join: entry.MEMBER_JOINED,
    Leave: entry.MEMBER_LEFT,
    SetRole: entry.MEMBER_ROLE,
    Describe: entry.CHANGED,
}
KINDS_OF_CHANGES = frozenset({*_KINDS.values(), entry.ACCOUNT_JOINED, entry.ACCOUNT_LEFT})
"""Kinds that are written only together with the change they report."""

Facts = dict[str, object]


class Done(NamedTuple):
    """The draft's own row of the log that the entry goes to, and the entry's body."""

    log: LogRow
    body: bytes


def kind_of(change: Change) -> str:
    """The kind of the entry that reports a change."""
    if isinstance(change, InboxChange):
        return entry.ACCOUNT_LEFT if change.left_seq else entry.ACCOUNT_JOINED
    return _KINDS[type(change)]


def apply(draft: Draft, append: Append, change: Change, digest: bytes) -> Done | Outcome:
    """Check one change and make it in the draft. `digest` is remembered as the origin of a conversation."""
    log = draft.log((append.app, append.conv))
    if isinstance(change, Create):
        return _create(draft, append, change, log, digest)
    if isinstance(change, InboxChange):
        return _inbox(draft, append, change, log)
    refused = _may_not_change(draft, append, change, log)
    if refused is not None:
        return refused
    if log is None:
        return NOT_FOUND
    match change:
        case Join():
            return _join(draft, append, change, log)
        case Leave():
            return _leave(draft, append, change, log)
        case SetRole():
            return _set_role(draft, append, change, log)
        case Describe():
            return _describe(draft, append, change, log)


# Creation ---------------------------------------------------------------------------------------------------------


def _create(
    draft: Draft, append: Append, change: Create, log: LogRow | None, digest: bytes
) -> Done | Outcome:
    problem = _bad_creation(append, change) or _bad_description(change)
    if problem is not None:
        return problem
    if log is not None:
        if log.kind is change.kind and (log.kind is Kind.DIRECT or log.origin == digest):
            return Appended(1, log.created_ms, 0, duplicate=True)
        return Refused(Code.EXISTS, "a conversation with this id exists already and is different")
    facts: Facts = {"kind": change.kind, "users": [user for user, _ in change.members]}
    roles = {user: role for user, role in change.members if role is not Role.MEMBER}
    properties = bytes(change.properties)
    optional = {
        "roles": roles,
        "title": change.title,
        "properties": change.properties if properties != b"{}" else None,
    }
    body = _body(append, facts | {key: value for key, value in optional.items() if value})
    if isinstance(body, Refused):
        return body
    log = draft.start(append, change.kind)
    log.history = change.history
    log.origin, log.title, log.properties = digest, change.title, properties
    for user, role in change.members:
        draft.join(log, user, role, 1)
    return Done(log, body)


def _bad_creation(append: Append, change: Create) -> Refused | None:
    users = [user for user, _ in change.members]
    if len(set(users)) != len(users):
        return Refused(Code.INVALID_REQUEST, "a user is named twice among the members")
    match change.kind:
        case Kind.DIRECT:
            return _bad_direct(append, change, users)
        case Kind.GROUP | Kind.CHANNEL:
            return _bad_group(append, change)
        case Kind.ACCOUNT:
            return Refused(Code.INVALID_REQUEST, "account logs begin by themselves")


def _bad_direct(append: Append, change: Create, users: list[str]) -> Refused | None:
    if len(users) != 2 or append.conv != direct_id(*users):
        return Refused(
            Code.INVALID_REQUEST, "a direct conversation has two users, and its id follows from them"
        )
    if any(role is not Role.MEMBER for _, role in change.members):
        return Refused(Code.INVALID_REQUEST, "both users of a direct conversation have the role of a member")
    if not append.trusted and append.sender not in users:
        return Refused(Code.NOT_ALLOWED, "a direct conversation is created by one of its users")
    return None


def _bad_group(append: Append, change: Create) -> Refused | None:
    try:
        check_conversation_id(append.conv)
    except InvalidId as error:
        return Refused(Code.INVALID_REQUEST, str(error))
    if not append.trusted and (append.sender, Role.OWNER) not in change.members:
        return Refused(Code.NOT_ALLOWED, "a user creates a conversation with themself as an owner")
    if change.kind is Kind.GROUP and any(role is Role.READER for _, role in change.members):
        return Refused(Code.INVALID_REQUEST, "only channels have readers")
    return None


# Members ----------------------------------------------------------------------------------------------------------


def _may_not_change(draft: Draft, append: Append, change: Change, log: LogRow | None) -> Refused | None:
    """Whether the sender may do this. Asked before anything is said about the conversation."""
    if append.trusted:
        return None
    actor = draft.member((append.app, append.conv, append.sender))
    if log is None or actor is None:
        return NOT_MEMBER
    if isinstance(change, Leave) and change.users == (append.sender,):
        return None
    if actor.role not in MANAGING_ROLES:
        return Refused(Code.NOT_ALLOWED, f"a {actor.role} may not do this; an owner or admin may")
    if actor.role is not Role.OWNER and not MANAGING_ROLES.isdisjoint(_roles_touched(draft, append, change)):
        return Refused(Code.NOT_ALLOWED, "only an owner manages owners and admins")
    return None


def _roles_touched(draft: Draft, append: Append, change: Change) -> set[Role]:
    """The roles that a change gives or takes away."""
    roles = {change.role} if isinstance(change, Join | SetRole) else set()
    users = (
        change.users if isinstance(change, Leave) else (change.user,) if isinstance(change, SetRole) else ()
    )
    members = (draft.member((append.app, append.conv, user)) for user in users)
    return roles | {member.role for member in members if member is not None}


def _join(draft: Draft, append: Append, change: Join, log: LogRow) -> Done | Outcome:
    problem = _fixed(log) or _bad_role(log, change.role)
    if problem is not None:
        return problem
    users = [user for user in dict.fromkeys(change.users) if draft.member((log.app, log.conv, user)) is None]
    if not users:
        return _already(log)
    if log.members + len(users) > MEMBERS_MAX:
        return Refused(Code.TOO_MANY_MEMBERS, f"a conversation has at most {MEMBERS_MAX} members")
    body = _body(append, {"users": users, "role": change.role})
    if isinstance(body, Refused):
        return body
    log = draft.writable(log)
    for user in users:
        draft.join(log, user, change.role, log.head + 1)
    return Done(log, body)


def _leave(draft: Draft, append: Append, change: Leave, log: LogRow) -> Done | Outcome:
    problem = _fixed(log)
    if problem is not None:
        return problem
    users = [
        user for user in dict.fromkeys(change.users) if draft.member((log.app, log.conv, user)) is not None
    ]
    if not users:
        return _already(log)
    body = _body(append, {"users": users})
    if isinstance(body, Refused):
        return body
    log = draft.writable(log)
    for user in users:
        draft.leave(log, user, log.head + 1)
    return Done(log, body)


def _set_role(draft: Draft, append: Append, change: SetRole, log: LogRow) -> Done | Outcome:
    problem = _fixed(log) or _bad_role(log, change.role)
    if problem is not None:
        return problem
    key = (log.app, log.conv, change.user)
    member = draft.member(key)
    if member is None:
        return Refused(Code.NOT_FOUND, "this user is not a member of the conversation")
    if member.role is change.role:
        return _already(log)
    body = _body(append, {"users": [change.user], "role": change.role})
    if isinstance(body, Refused):
        return body
    draft.set_role(key, change.role)
    return Done(draft.writable(log), body)


def _describe(draft: Draft, append: Append, change: Describe, log: LogRow) -> Done | Outcome:
    problem = _bad_description(change)
    if problem is not None:
        return problem
    facts: Facts = {"title": change.title, "properties": change.properties}
    body = _body(append, {key: value for key, value in facts.items() if value is not None})
    if isinstance(body, Refused):
        return body
    log = draft.writable(log)
    if change.title is not None:
        log.title = change.title
    if change.properties is not None:
        log.properties = bytes(change.properties)
    return Done(log, body)


def _bad_description(change: Create | Describe) -> Refused | None:
    if change.title is not None and "\0" in change.title:
        return Refused(Code.INVALID_REQUEST, "the title contains the character U+0000")
    try:
        if change.properties is not None:
            check_body(change.properties)
    except InvalidContent as error:
        return Refused(Code.INVALID_CONTENT, f"properties: {error}")
    return None


def _fixed(log: LogRow) -> Refused | None:
    if log.kind in (Kind.GROUP, Kind.CHANNEL):
        return None
    return Refused(Code.INVALID_REQUEST, f"the members of a {log.kind} log are fixed")


def _bad_role(log: LogRow, role: Role) -> Refused | None:
    if role is Role.READER and log.kind is not Kind.CHANNEL:
        return Refused(Code.INVALID_REQUEST, "only channels have readers")
    return None


def _already(log: LogRow) -> Appended:
    return Appended(log.head, log.active_ms, log.ordinal, duplicate=True)


# Account logs -----------------------------------------------------------------------------------------------------


def _inbox(draft: Draft, append: Append, change: InboxChange, log: LogRow | None) -> Done | Outcome:
    user = account_user(append.conv)
    if user is None or append.conv != account_id(user):
        return Refused(Code.INVALID_REQUEST, "a user's list of conversations is kept in their account log")
    if not append.trusted:
        return NOT_MEMBER
    body = _body(append, {"conv": change.conv, "joined_seq": change.joined_seq, "left_seq": change.left_seq})
    if isinstance(body, Refused):
        return body
    log = draft.start(append, Kind.ACCOUNT) if log is None else draft.writable(log)
    draft.inbox.append(InboxRow(log.app, user, change.conv, log.shard, change.joined_seq, change.left_seq))
    return Done(log, body)


# Bodies -----------------------------------------------------------------------------------------------------------


def _body(append: Append, facts: Facts) -> bytes | Refused:
    """The caller's body with the facts put in: what is in the log is what was done, not what was asked for."""
    try:
        body = msgspec.json.decode(append.body, type=Facts)
        return msgspec.json.encode(body | facts)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Refused(Code.INVALID_CONTENT, f"the body is not a JSON object: {error}")
    except UnicodeEncodeError:
        return Refused(Code.INVALID_REQUEST, "the change contains a lone surrogate")
