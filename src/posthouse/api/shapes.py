"""The shapes of paths, queries, bodies and answers. Pure.

Unknown fields are refused, so that a misspelt one is noticed. Ids and texts are checked as they are read.
"""

import unicodedata
from typing import Annotated

import msgspec
from msgspec import Meta

from posthouse.api.service import Endpoint
from posthouse.model.content import CLIENT_ID_BYTES_MAX, MENTIONS_MAX, check_body
from posthouse.model.conversation import Conversation, History, Kind, Member, Role
from posthouse.model.entry import MESSAGE, Entry
from posthouse.model.ids import ID_BYTES_MAX, INTEGER_MAX, check_conversation_id, check_id
from posthouse.protocol.frames import FETCH_LIMIT_MAX, LIST_LIMIT_MAX, MemberCursor, Summary
from posthouse.storage.base import JOIN_USERS_MAX, User

IDS_MAX = 200
MEMBERS_LIMIT_MAX = 1_000
TITLE_CHARS_MAX = 256
NAME_CHARS_MAX = 256
URL_CHARS_MAX = 2_048

_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_WHITE = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_REST_OF_ID = f"([^{_CONTROL}]{{0,{ID_BYTES_MAX - 2}}}[^{_WHITE}{_CONTROL}])?"
_ID = f"[^{_WHITE}{_CONTROL}]{_REST_OF_ID}"
ID_SCHEMA = {"pattern": f"^{_ID}$"}
"""What `check_id` says, for the document; there it counts characters, and bytes of UTF-8 are not to be said."""
OPTIONAL_ID_SCHEMA = {"pattern": f"^({_ID})?$"}
CLIENT_ID_SCHEMA = OPTIONAL_ID_SCHEMA | {"maxLength": CLIENT_ID_BYTES_MAX}
_LOG_ID_SCHEMA = {"pattern": f"^(~{_ID}|[^~{_WHITE}{_CONTROL}]{_REST_OF_ID})$"}
_CHOSEN_ID_SCHEMA = {"pattern": f"^([^~{_WHITE}{_CONTROL}]{_REST_OF_ID})?$"}
_KIND_SCHEMA = {"pattern": f"^(message|x\\.([^{_CONTROL}]*[^{_WHITE}{_CONTROL}])?)$"}
_LINE_SCHEMA = {"pattern": f"^[^{_CONTROL}]*$"}

Id = Annotated[str, Meta(min_length=1, max_length=ID_BYTES_MAX, extra_json_schema=ID_SCHEMA)]
OptionalId = Annotated[str, Meta(extra_json_schema=OPTIONAL_ID_SCHEMA)]
LogId = Annotated[str, Meta(min_length=1, max_length=1 + ID_BYTES_MAX, extra_json_schema=_LOG_ID_SCHEMA)]
"""A conversation's id, or an account log's, which is a user's id after a `~`."""
JsonObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
OptionalObject = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "null"]})]
Seq = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Title = Annotated[str, Meta(max_length=TITLE_CHARS_MAX, extra_json_schema=_LINE_SCHEMA)]
Name = Annotated[str, Meta(max_length=NAME_CHARS_MAX, extra_json_schema=_LINE_SCHEMA)]
Url = Annotated[str, Meta(max_length=URL_CHARS_MAX, extra_json_schema=_LINE_SCHEMA)]


def optional_object() -> msgspec.Raw:
    """The default of an object that may be left out; `given` reads it. (msgspec decodes no `Raw | None`.)"""
    return msgspec.field(default_factory=msgspec.Raw)


def given(raw: msgspec.Raw) -> msgspec.Raw | None:
    """An optional object, or None when it was left out or null."""
    return None if bytes(raw) in (b"", b"null") else raw


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what callers send."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of what they get."""


# Paths ------------------------------------------------------------------------------------------------------------


class UserPath(Asked, frozen=True, kw_only=True):
    user: Id

    def __post_init__(self) -> None:
        check_id(self.user, "user")


class ConversationPath(Asked, frozen=True, kw_only=True):
    conv: LogId

    def __post_init__(self) -> None:
        check_id(self.conv.removeprefix("~"), "conversation")


class MemberPath(Asked, frozen=True, kw_only=True):
    conv: LogId
    user: Id

    def __post_init__(self) -> None:
        check_id(self.conv.removeprefix("~"), "conversation")
        check_id(self.user, "user")


# Queries ----------------------------------------------------------------------------------------------------------


class UsersQuery(Asked, frozen=True, kw_only=True):
    ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=IDS_MAX)]

    def __post_init__(self) -> None:
        for user in self.ids:
            check_id(user, "user")


class ListQuery(Asked, frozen=True, kw_only=True):
    user: Annotated[OptionalId, Meta(description="Whose conversations; only a back end names one.")] = ""
    page: Annotated[str, Meta(description="The `next_page` of the page before.", max_length=1_024)] = ""
    limit: Annotated[int, Meta(ge=1, le=LIST_LIMIT_MAX)] = 100

    def __post_init__(self) -> None:
        if self.user:
            check_id(self.user, "user")


class MembersQuery(Asked, frozen=True, kw_only=True):
    after: Annotated[OptionalId, Meta(description="The `next_after` of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MEMBERS_LIMIT_MAX)] = 100

    def __post_init__(self) -> None:
        if self.after:
            check_id(self.after, "user")


class EntriesQuery(Asked, frozen=True, kw_only=True):
    after: Annotated[Seq | None, Meta(description="Entries after this one, rising.")] = None
    before: Annotated[Seq | None, Meta(description="Entries before this one, falling.")] = None
    limit: Annotated[int, Meta(ge=1, le=FETCH_LIMIT_MAX)] = 100

    def __post_init__(self) -> None:
        if self.after is not None and self.before is not None:
            raise ValueError("give `after` or `before`, not both")


class CursorsQuery(Asked, frozen=True, kw_only=True):
    users: Annotated[
        tuple[Id, ...],
        Meta(max_length=IDS_MAX, description="Whose cursors; all members' when none is named."),
    ] = ()

    def __post_init__(self) -> None:
        for user in self.users:
            check_id(user, "user")


# Bodies -----------------------------------------------------------------------------------------------------------


class DescribeUser(Asked, frozen=True, kw_only=True):
    """What to say about a user. What is left out stays as it is."""

    name: Name | None = None
    avatar: Url | None = None
    properties: OptionalObject = optional_object()
    blocked: bool | None = None

    def __post_init__(self) -> None:
        check_line(self.name, "name")
        check_line(self.avatar, "avatar")
        if given(self.properties) is not None:
            check_body(self.properties)


class NewToken(Asked, frozen=True, kw_only=True):
    """For whom a token is wanted. With a device it is good for that device only."""

    user: Id
    device: OptionalId = ""
    ttl_s: Annotated[int, Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        check_id(self.user, "user")
        if self.device:
            check_id(self.device, "device")


class NewMember(Asked, frozen=True, kw_only=True):
    """A first member with a role of their own."""

    user: Id
    role: Role

    def __post_init__(self) -> None:
        check_id(self.user, "user")


class NewConversation(Asked, frozen=True, kw_only=True):
    """A conversation to create. A user who creates one becomes its owner.

    `conv` is left out for a direct conversation, whose id follows from its two users, and may be left out otherwise.
    Members named without a role get `reader` in a channel and `member` elsewhere.
    """

    kind: Kind
    conv: Annotated[str, Meta(extra_json_schema=_CHOSEN_ID_SCHEMA)] = ""
    members: Annotated[tuple[Id | NewMember, ...], Meta(max_length=JOIN_USERS_MAX)] = ()
    title: Title = ""
    history: History | None = None
    properties: OptionalObject = optional_object()

    def __post_init__(self) -> None:
        if self.conv and self.kind is not Kind.DIRECT:
            check_conversation_id(self.conv)
        check_line(self.title, "title")


class ChangeConversation(Asked, frozen=True, kw_only=True):
    """What to change. What is left out stays as it is."""

    title: Title | None = None
    properties: OptionalObject = optional_object()

    def __post_init__(self) -> None:
        check_line(self.title, "title")


class AddMembers(Asked, frozen=True, kw_only=True):
    """Who is to join. Without a role: `reader` in a channel, `member` elsewhere."""

    users: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=JOIN_USERS_MAX)]
    role: Role | None = None


class ChangeMember(Asked, frozen=True, kw_only=True):
    """A member's new role."""

    role: Role


class NewEntry(Asked, frozen=True, kw_only=True):
    """An entry to send. `client_id` (or Idempotency-Key) names it for ever: sent again it is stored once.

    `made_at` is when it was made, in milliseconds, stable over retries. A back end may send as any user (`sender`), or
    as the app itself.
    """

    body: JsonObject
    kind: Annotated[str, Meta(max_length=64, extra_json_schema=_KIND_SCHEMA)] = MESSAGE
    client_id: Annotated[str, Meta(extra_json_schema=CLIENT_ID_SCHEMA)] = ""
    made_at: Seq | None = None
    reply_to: Seq = 0
    mentions: Annotated[tuple[Id, ...], Meta(max_length=MENTIONS_MAX)] = ()
    sender: OptionalId = ""

    def __post_init__(self) -> None:
        check_client_id(self.client_id)
        if self.sender:
            check_id(self.sender, "user")


# Answers ----------------------------------------------------------------------------------------------------------


class UserView(Answer, frozen=True, kw_only=True):
    """A user as the app describes them. Other users see name and avatar only."""

    user: str
    name: str = ""
    avatar: str = ""
    properties: JsonObject | None = None
    blocked: bool = False
    updated_ms: int = 0


class PresenceView(Answer, frozen=True, kw_only=True):
    """Whether any device of a user is connected now; null while nobody can say."""

    user: str
    online: bool | None


class PresenceViews(Answer, frozen=True, kw_only=True):
    """One for each user asked for, in their order."""

    users: tuple[PresenceView, ...]


class UserViews(Answer, frozen=True, kw_only=True):
    """The users that exist among those asked for."""

    users: tuple[UserView, ...]


class Token(Answer, frozen=True, kw_only=True):
    """An access token, and when it expires (seconds since 1970)."""

    token: str
    user: str
    expires_s: int


class ConversationView(Answer, frozen=True, kw_only=True):
    """A conversation. `head` is its newest entry, `first_seq` the oldest that is kept."""

    conv: str
    kind: Kind
    head: int
    first_seq: int
    history: History
    members: int
    created_ms: int
    title: str = ""
    properties: JsonObject | None = None


class ConversationViews(Answer, frozen=True, kw_only=True):
    """A page of a user's conversation list, newest activity first; `next_page` is empty on the last page."""

    items: tuple[Summary, ...]
    next_page: str = ""


class Members(Answer, frozen=True, kw_only=True):
    """A page of members, ordered by user; `next_after` is empty on the last page."""

    members: tuple[Member, ...]
    next_after: str = ""


class Written(Answer, frozen=True, kw_only=True):
    """The entry that is now in the log. `duplicate`: it was there before, or there was nothing to change."""

    conv: str
    seq: int
    at_ms: int
    ordinal: int
    client_id: str = ""
    duplicate: bool = False


class Entries(Answer, frozen=True, kw_only=True):
    """A range of a log. `complete`: nothing that the caller may see lies beyond in the asked direction."""

    entries: tuple[Entry, ...]
    head: int
    first_seq: int
    complete: bool


class Cursors(Answer, frozen=True, kw_only=True):
    """How far members have read and received."""

    cursors: tuple[MemberCursor, ...]


class Endpoints(Answer, frozen=True, kw_only=True):
    """Where clients connect. Ask again after `ttl_s` seconds."""

    endpoints: tuple[Endpoint, ...]
    ttl_s: int


def view_of_user(user: User, *, whole: bool) -> UserView:
    """What is shown of a user: all of it, or what is for other users' eyes."""
    if not whole:
        return UserView(user=user.user, name=user.name, avatar=user.avatar)
    return UserView(
        user=user.user,
        name=user.name,
        avatar=user.avatar,
        properties=user.properties,
        blocked=user.blocked,
        updated_ms=user.updated_ms,
    )


def view_of_conversation(conversation: Conversation) -> ConversationView:
    """A conversation's facts as they are shown."""
    return ConversationView(
        conv=conversation.conv,
        kind=conversation.kind,
        head=conversation.head,
        first_seq=conversation.first_seq,
        history=conversation.history,
        members=conversation.members,
        created_ms=conversation.created_ms,
        title=conversation.title,
        properties=conversation.properties,
    )


def check_line(text: str | None, what: str) -> None:
    """Raise ValueError when a text for display would break a line, a log or a database."""
    if text and not text.isprintable() and any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise ValueError(f"the {what} contains control characters")


def check_client_id(client_id: str) -> None:
    """Raise ValueError when a name of an entry is too long, or holds what ids must not hold. Empty: none was given."""
    if client_id and len(check_id(client_id, "client").encode()) > CLIENT_ID_BYTES_MAX:
        raise ValueError(f"a client id has at most {CLIENT_ID_BYTES_MAX} bytes")
