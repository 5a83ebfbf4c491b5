"""What is refused before the database is asked, because no engine could look it up, keep it or bound it. Pure."""

from collections.abc import Iterator, Sequence

from posthouse.model.content import MENTIONS_MAX
from posthouse.model.errors import InvalidId
from posthouse.model.ids import INTEGER_MAX, account_user, check_id
from posthouse.protocol.codes import Code
from posthouse.storage.base import (
    JOIN_USERS_MAX,
    Append,
    Change,
    Create,
    InboxChange,
    Join,
    Leave,
    Refused,
    SetRole,
)

CLIENT_ID_CHARS_MAX = 400
"""More than clients may use: the server's own name a conversation, an entry and a user."""


def malformed(append: Append) -> Refused | None:
    """Why an append is refused unseen, or None. Asked for every send, so the common case is quick."""
    if not 1 <= len(append.client_id) <= CLIENT_ID_CHARS_MAX:
        return Refused(Code.INVALID_REQUEST, f"client_id must have 1 to {CLIENT_ID_CHARS_MAX} characters")
    if not 0 <= append.reply_to <= INTEGER_MAX:
        return Refused(Code.INVALID_CONTENT, "reply_to is not the number of an entry")
    if len(append.mentions) > MENTIONS_MAX:
        return Refused(Code.INVALID_CONTENT, f"at most {MENTIONS_MAX} users may be mentioned")
    text = append.sender + append.device + append.client_id + append.kind + append.conv + append.app
    if text.isascii() and text.isprintable() and not append.mentions and append.change is None:
        return None
    if append.change is not None and len(users_of(append.change)) > JOIN_USERS_MAX:
        return Refused(Code.INVALID_REQUEST, f"one entry names at most {JOIN_USERS_MAX} users")
    return _malformed_text(append)


def users_of(change: Change) -> Sequence[str]:
    """The users whose membership a change is about."""
    match change:
        case Join(users=users) | Leave(users=users):
            return users
        case Create(members=members):
            return [user for user, _ in members]
        case SetRole(user=user):
            return (user,)
        case _:
            return ()


def _malformed_text(append: Append) -> Refused | None:
    try:
        for what, value in _ids(append):
            check_id(value, what)
        append.client_id.encode()
    except InvalidId as error:
        return Refused(Code.INVALID_REQUEST, str(error))
    except UnicodeEncodeError:
        return Refused(Code.INVALID_REQUEST, "client_id contains a lone surrogate")
    if "\0" in append.client_id:
        return Refused(Code.INVALID_REQUEST, "client_id contains the character U+0000")
    return None


def _ids(append: Append) -> Iterator[tuple[str, str]]:
    yield "app", append.app
    yield "conversation", account_user(append.conv) or append.conv
    yield "entry kind", append.kind
    for what, value in (("user", append.sender), ("device", append.device)):
        if value:
            yield what, value
    for user in append.mentions:
        yield "user", user
    if append.change is not None:
        for user in users_of(append.change):
            yield "user", user
    if isinstance(append.change, InboxChange):
        yield "conversation", append.change.conv
