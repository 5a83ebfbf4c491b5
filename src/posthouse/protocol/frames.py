"""Every frame of the protocol, as a type. One JSON object a frame; its tag is `t`. Pure.

Rules are in spec/protocol.md; the JSON Schema in spec/schema.json is generated from these types. Unknown fields are
ignored, so that a newer peer may add some. Fields with defaults may be left out.
"""

from typing import Annotated

import msgspec

from posthouse.model.conversation import Kind, Role
from posthouse.model.cursor import Cursor
from posthouse.model.entry import Entry
from posthouse.model.ids import INTEGER_MAX

FETCH_LIMIT_MAX = 200
LIST_LIMIT_MAX = 500
CURSORS_MAX = 200
POSITIONS_MAX = 2_000

Whole = Annotated[int, msgspec.Meta(le=INTEGER_MAX)]
"""What a client calculates with as it comes: no float holds what JSON may write."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """The base of all frames."""


# Client to server ---------------------------------------------------------------------------------------------


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """What a returning client has applied: `positions` maps each of its logs to a seq, its account log among them."""

    token: str
    epoch: str
    positions: dict[str, int] = {}


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    """The first frame: who the client is, and, when it comes back, where it stood."""

    token: str
    device: str
    at_ms: int = 0
    heartbeat_s: int = 30
    sdk: str = ""
    resume: Resume | None = None


class Renew(Frame, frozen=True, kw_only=True, tag="renew"):
    """A fresh access token of the same user, before the old one expires."""

    ref: int
    token: str


class Send(Frame, frozen=True, kw_only=True, tag="send"):
    """Append an entry. `client_id` names it for ever; `made_at` is when the user made it, stable over retries."""

    conv: str
    client_id: str
    made_at: int
    body: msgspec.Raw
    kind: str = "message"
    reply_to: int = 0
    mentions: tuple[str, ...] = ()


class Fetch(Frame, frozen=True, kw_only=True, tag="fetch"):
    """Ask for a range of one log: entries after `after` in rising order, or before `before` in falling order."""

    ref: int
    conv: str
    after: int | None = None
    before: int | None = None
    limit: int = 100


class List(Frame, frozen=True, kw_only=True, tag="list"):
    """Ask for a page of the user's conversations; `page` is the mark that the page before gave."""

    ref: int
    page: str = ""
    limit: int = 500


class SetCursors(Frame, frozen=True, kw_only=True, tag="cursor"):
    """Say how far the user has read or received; answered by `done` once durable."""

    ref: int
    cursors: tuple[Cursor, ...]


class Ping(Frame, frozen=True, kw_only=True, tag="ping"):
    """The client's heartbeat; answered by `pong`."""


ClientFrame = Hello | Renew | Send | Fetch | List | SetCursors | Ping


# Server to client ---------------------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the server takes from one session, so that a client need not find out by being refused."""

    frame_bytes_max: Whole
    body_bytes_max: Whole
    in_flight_max: Whole
    repeat_window_s: Whole


class Welcome(Frame, frozen=True, kw_only=True, tag="welcome"):
    """The session stands. `resumed` is true only when `changed` names every log in which anything was missed.

    Asked to resume and not able to, the server says `resumed` false and why in `reset`, a code: the client forgets
    its positions.
    """

    session: str
    user: str
    device: str
    node: str
    at_ms: int
    epoch: str
    resume_token: str
    heartbeat_s: int
    account_head: int
    limits: Limits
    resumed: bool = False
    reset: int = 0
    changed: dict[str, int] = {}


class Ack(Frame, frozen=True, kw_only=True, tag="ack"):
    """The send `client_id` is committed as entry `seq`; the same however often it is sent."""

    conv: str
    client_id: str
    seq: int
    at_ms: int
    ordinal: int


class Push(Frame, frozen=True, kw_only=True, tag="entry"):
    """A new entry, in the order of its log."""

    entry: Entry


class Entries(Frame, frozen=True, kw_only=True, tag="entries"):
    """The answer to `fetch`. `complete` is true when nothing the user may see lies beyond in the asked direction."""

    ref: int
    conv: str
    entries: tuple[Entry, ...]
    head: int
    first_seq: int
    complete: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation in the user's list. `peer` is the other user of a direct conversation."""

    conv: str
    kind: Kind
    role: Role
    head: int
    first_seq: int
    joined_seq: int
    title: str = ""
    peer: str = ""
    members: int = 0
    unread: int = 0
    mentions: int = 0
    read: int = 0
    delivered: int = 0
    left: bool = False
    last: Entry | None = None


class Conversations(Frame, frozen=True, kw_only=True, tag="conversations"):
    """The answer to `list`: newest activity first; `next_page` is empty on the last page."""

    ref: int
    items: tuple[Summary, ...]
    next_page: str = ""


class Done(Frame, frozen=True, kw_only=True, tag="done"):
    """The request `ref` is carried out, durably."""

    ref: int


class MemberCursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member's positions."""

    user: str
    read: int = 0
    delivered: int = 0


class CursorsPush(Frame, frozen=True, kw_only=True, tag="cursors"):
    """Members of a small conversation moved their cursors. A hint: never needed to be complete."""

    conv: str
    of: tuple[MemberCursor, ...]


class Heads(Frame, frozen=True, kw_only=True, tag="heads"):
    """A hint: these logs have entries up to here. Whoever has less fetches."""

    heads: dict[str, int]


class Goaway(Frame, frozen=True, kw_only=True, tag="goaway"):
    """The connection will end: when to come back and where to. The close code follows with the same `code`."""

    code: int
    reason: str
    reconnect_in_ms: Whole = 0
    endpoint: str = ""


class Error(Frame, frozen=True, kw_only=True, tag="error"):
    """One request is refused. A send is named by `conv` and `client_id`, any other request by `ref`."""

    code: int
    reason: str
    ref: int = 0
    conv: str = ""
    client_id: str = ""
    retry_after_ms: Whole = 0


class Pong(Frame, frozen=True, kw_only=True, tag="pong"):
    """The answer to `ping`."""


ServerFrame = (
    Welcome | Ack | Push | Entries | Conversations | Done | CursorsPush | Heads | Goaway | Error | Pong
)
