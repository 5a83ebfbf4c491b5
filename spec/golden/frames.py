"""Valid frames of both sides: what is on the wire, and what it says with every field spelled out."""

from typing import Any

import msgspec

from posthouse.model.conversation import Kind, Role
from posthouse.model.cursor import Cursor
from posthouse.model.entry import Entry
from posthouse.model.ids import direct_id
from posthouse.protocol import frames as f
from posthouse.protocol.codec import encode
from posthouse.protocol.codes import Code
from spec.golden.notation import EXPLAINED, Vector, written

ANN_BEN = direct_id("ann", "ben")
AT_MS = 1_767_225_600_000
RAW = msgspec.Raw


def _entry(seq: int, **changes: Any) -> Entry:
    good: dict[str, Any] = {
        "conv": "lounge",
        "seq": seq,
        "kind": "message",
        "at_ms": AT_MS + seq,
        "ordinal": seq - 1,
        "body": RAW(b'{"text":"hello"}'),
        "sender": "ben",
        "device": "laptop",
        "client_id": f"b-{seq}",
    }
    return Entry(**good | changes)


_LIMITS = f.Limits(
    frame_bytes_max=65_536, body_bytes_max=32_768, in_flight_max=256, repeat_window_s=2_592_000
)


def _welcome(**changes: Any) -> f.Welcome:
    good: dict[str, Any] = {
        "session": "n1.19b76.1",
        "user": "ann",
        "device": "phone",
        "node": "n1",
        "at_ms": AT_MS,
        "epoch": "e1",
        "resume_token": "cmVzdW1l",
        "heartbeat_s": 5,
        "account_head": 3,
        "limits": _LIMITS,
    }
    return f.Welcome(**good | changes)


CLIENT: list[tuple[str, f.ClientFrame]] = [
    (
        "a new session, with the interval of a client in the background",
        f.Hello(token="a.b.c", device="phone"),
    ),
    (
        "a returning session says what it has applied",
        f.Hello(
            token="a.b.c",
            device="phone",
            heartbeat_s=5,
            sdk="example/1.0",
            resume=f.Resume(token="cmVzdW1l", epoch="e1", positions={"~ann": 3, "lounge": 41, ANN_BEN: 7}),
        ),
    ),
    ("a fresh access token", f.Renew(ref=1, token="a.b.c")),
    (
        "a message",
        f.Send(conv="lounge", client_id="a-1", made_at=AT_MS, body=RAW(b'{"text":"Is the kettle on?"}')),
    ),
    (
        "a message to a user whose id is an IRC nick, in reply, with mentions, in other scripts",
        f.Send(
            conv=direct_id("|trey|", "[foo]^"),
            client_id="01J-é-1",
            made_at=AT_MS,
            body=RAW('{"text":"Grüße 👋\\u2028 😀","n":[1,2.50,null]}'.encode()),
            reply_to=12,
            mentions=("|trey|", "王小明"),
        ),
    ),
    (
        "an entry of a custom kind, which does not count as unread",
        f.Send(conv="lounge", client_id="a-2", made_at=AT_MS, kind="x.poll", body=RAW(b"{}")),
    ),
    ("the entries after one", f.Fetch(ref=2, conv="lounge", after=41)),
    ("a page of older entries", f.Fetch(ref=3, conv="lounge", before=41, limit=50)),
    ("the newest entries", f.Fetch(ref=4, conv="~ann", limit=1)),
    ("the first page of the conversation list", f.List(ref=5)),
    ("the next page of the conversation list", f.List(ref=6, page="bWFyaw", limit=20)),
    (
        "two cursors in one frame",
        f.SetCursors(ref=7, cursors=(Cursor("lounge", 42, 42), Cursor(ANN_BEN, delivered=8))),
    ),
    ("a heartbeat", f.Ping()),
]

SERVER: list[tuple[str, f.ServerFrame]] = [
    ("a new session stands", _welcome()),
    (
        "a resumed session stands; one conversation and the account log have news",
        _welcome(resumed=True, changed={"lounge": 44, "~ann": 4}),
    ),
    ("the session stands, but old positions must be forgotten", _welcome(reset=Code.EPOCH_CHANGED)),
    ("a send is entry 42", f.Ack(conv="lounge", client_id="a-1", seq=42, at_ms=AT_MS + 42, ordinal=40)),
    ("a message of somebody else", f.Push(entry=_entry(43, reply_to=42, mentions=("ann",)))),
    (
        "members joined",
        f.Push(
            entry=_entry(
                44, kind="member.joined", ordinal=42, body=RAW(b'{"users":["cyd","dan"],"role":"member"}')
            )
        ),
    ),
    (
        "the user's account log: they are in a new conversation",
        f.Push(
            entry=Entry(
                conv="~ann",
                seq=4,
                kind="conversation.joined",
                at_ms=AT_MS,
                ordinal=0,
                body=RAW(b'{"conv":"attic","joined_seq":1}'),
                device="roster",
                client_id="1:attic",
            )
        ),
    ),
    (
        "an entry of a kind from the future is kept and passed on",
        f.Push(entry=_entry(45, kind="message.edited")),
    ),
    (
        "a range of entries; there are more",
        f.Entries(
            ref=2,
            conv="lounge",
            entries=(_entry(42, sender="ann", device="phone", client_id="a-1"), _entry(43)),
            head=45,
            first_seq=1,
            complete=False,
        ),
    ),
    (
        "nothing lies there",
        f.Entries(ref=3, conv="lounge", entries=(), head=45, first_seq=41, complete=True),
    ),
    (
        "a page of conversations; there are more",
        f.Conversations(
            ref=5,
            items=(
                f.Summary(
                    conv="lounge",
                    kind=Kind.GROUP,
                    role=Role.OWNER,
                    head=43,
                    first_seq=1,
                    joined_seq=1,
                    title="The lounge",
                    members=3,
                    unread=1,
                    mentions=1,
                    read=42,
                    delivered=43,
                    last=_entry(43),
                ),
                f.Summary(
                    conv=ANN_BEN,
                    kind=Kind.DIRECT,
                    role=Role.MEMBER,
                    head=7,
                    first_seq=1,
                    joined_seq=1,
                    peer="ben",
                    members=2,
                ),
                f.Summary(
                    conv="cellar",
                    kind=Kind.CHANNEL,
                    role=Role.READER,
                    head=9,
                    first_seq=1,
                    joined_seq=4,
                    left=True,
                ),
            ),
            next_page="bWFyaw",
        ),
    ),
    ("no conversations", f.Conversations(ref=6, items=())),
    ("a request is carried out", f.Done(ref=7)),
    (
        "two members read on",
        f.CursorsPush(conv="lounge", of=(f.MemberCursor("ben", 43, 44), f.MemberCursor("cyd", delivered=44))),
    ),
    ("a hint of what there is", f.Heads(heads={"lounge": 46, "~ann": 4})),
    (
        "the node is being drained: where to go, and when",
        f.Goaway(
            code=Code.DRAINING, reason="maintenance", reconnect_in_ms=1_500, endpoint="wss://n2.example/v1/ws"
        ),
    ),
    ("the session ends for good", f.Goaway(code=Code.REPLACED, reason="a newer session of the same device")),
    (
        "a send is refused for now",
        f.Error(
            code=Code.RATE_LIMITED,
            reason="more sends than allowed",
            conv="lounge",
            client_id="a-3",
            retry_after_ms=250,
        ),
    ),
    ("a request is refused for good", f.Error(code=Code.NOT_MEMBER, reason="no member", ref=3)),
    ("the answer to a heartbeat", f.Pong()),
]

TOLERATED: list[tuple[str, str, str, f.Frame | None]] = [
    ("client", "unknown fields are ignored", '{"t":"ping","mood":"calm","more":{"t":[1,{}]}}', f.Ping()),
    (
        "client",
        "the tag may come last, white space may stand between tokens, and defaults may be spelled out",
        ' { "ref" : 5 ,\n"limit":500,"page":"","t" : "list" } ',
        f.List(ref=5),
    ),
    (
        "client",
        "characters may be escaped, also as pairs of surrogates",
        '{"t":"fetch","ref":1,"conv":"\\u006co\\ud83d\\ude00\\/","after":null}',
        f.Fetch(ref=1, conv="lo😀/"),
    ),
    (
        "client",
        "resume may be null",
        '{"t":"hello","token":"a.b.c","device":"phone","resume":null}',
        CLIENT[0][1],
    ),
    (
        "server",
        "a kind of frame from the future is passed over",
        '{"t":"typing","conv":"lounge","users":["ben"]}',
        None,
    ),
    (
        "server",
        "unknown fields are ignored, also inside",
        '{"t":"cursors","conv":"c","of":[{"user":"ben","read":1,"place":"bed"}],"v":2}',
        f.CursorsPush(conv="c", of=(f.MemberCursor("ben", 1),)),
    ),
]


def spelled_out(value: object) -> Any:
    """A frame as a JSON value with every field present, defaults included; bodies as the JSON they are."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = {name: spelled_out(getattr(value, name)) for name in value.__struct_fields__}
        return ({"t": tag} if tag else {}) | fields
    if isinstance(value, tuple):
        return [spelled_out(item) for item in value]
    if isinstance(value, dict):
        return {key: spelled_out(item) for key, item in value.items()}
    return value


def _vector(side: str, name: str, wire: str | bytes, frame: f.Frame | None) -> Vector:
    return {"from": side, "name": name, **written(wire), "frame": frame and spelled_out(frame)}


def document() -> Vector:
    """The file frames.json."""
    made = [_vector("client", name, encode(frame), frame) for name, frame in CLIENT]
    made += [_vector("server", name, encode(frame), frame) for name, frame in SERVER]
    made += [_vector(side, name, text, frame) for side, name, text, frame in TOLERATED]
    return {
        "about": "Valid frames. `frame`: what they say, every field spelled out; null: the frame is passed over. "
        + EXPLAINED,
        "frames": made,
    }
