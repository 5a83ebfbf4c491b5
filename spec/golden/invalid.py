"""What a server refuses: messages of a client, the phase of the session they come in, and the code of the answer.

Codes below 4500 end the session: `goaway` and the close frame carry them. The others answer in an `error`.
"""

from posthouse.model.ids import INTEGER_MAX
from posthouse.protocol.codes import Code
from posthouse.protocol.frames import CURSORS_MAX, POSITIONS_MAX
from spec.golden.notation import EXPLAINED, Parts, Vector, written
from spec.golden.tokens import GOOD_TOKEN

NEW, LIVE = "new", "live"
NOT_UTF8 = 1007
AT_MS = 1_767_225_600_000

Case = tuple[str, str, str, str | bytes | Parts, int]


def _send(
    body: str = "{}", conv: str = '"c"', client_id: str = '"k"', made_at: object = AT_MS, more: str = ""
) -> str:
    return f'{{"t":"send","conv":{conv},"client_id":{client_id},"made_at":{made_at},"body":{body}{more}}}'


def _around(text: str, part: str, times: int) -> Parts:
    """`text` with its `*` replaced by a part many times over."""
    before, after = text.split("*")
    return [(before, 1), (part, times), (after, 1)]


def _fetch(more: str) -> str:
    return f'{{"t":"fetch","ref":1,"conv":"c",{more}}}'


def _cursors(cursors: str) -> str:
    return f'{{"t":"cursor","ref":1,"cursors":[{cursors}]}}'


def _hello(more: str = "", token: str = "a.b.c", device: str = "phone") -> str:
    return f'{{"t":"hello","token":"{token}","device":"{device}"{more}}}'


BAD_FRAMES: list[Case] = [
    ("P-3.1", "nothing", LIVE, "", Code.BAD_FRAME),
    ("P-3.1", "no JSON", LIVE, "hello", Code.BAD_FRAME),
    ("P-3.1", "an array", LIVE, '[{"t":"ping"}]', Code.BAD_FRAME),
    ("P-3.1", "null", LIVE, "null", Code.BAD_FRAME),
    ("P-3.1", "cut short", LIVE, '{"t":"ping"', Code.BAD_FRAME),
    ("P-3.1", "two frames in one message", LIVE, '{"t":"ping"}{"t":"ping"}', Code.BAD_FRAME),
    ("P-3.1", "a byte order mark", LIVE, '\ufeff{"t":"ping"}', Code.BAD_FRAME),
    ("P-3.1", "no UTF-8: the WebSocket itself refuses it", LIVE, b'{"t":"ping","x":"\xff"}', NOT_UTF8),
    ("P-3.1", "no UTF-8: a surrogate", LIVE, _send(conv='"*"').encode().replace(b"*", b"\xed\xa0\x80"), NOT_UTF8),
    ("P-3.1", "endless nesting in an unknown field", LIVE, _around('{"t":"ping","x":*', "[", 30_000), Code.BAD_FRAME),
    ("P-3.1", "endless nesting in a body", LIVE, _around(_send(body="*"), '{"a":', 10_000), Code.BAD_FRAME),
    ("P-3.2", "no tag", LIVE, "{}", Code.BAD_FRAME),
    ("P-3.2", "a tag that is no string", LIVE, '{"t":1}', Code.BAD_FRAME),
    ("P-3.4", "an unknown frame", LIVE, '{"t":"typing","conv":"c"}', Code.BAD_FRAME),
    ("P-3.4", "a frame of the server", LIVE, '{"t":"done","ref":1}', Code.BAD_FRAME),
    ("P-3.5", "a field is missing", LIVE, '{"t":"fetch","ref":1}', Code.BAD_FRAME),
    ("P-3.5", "null where a value must be", LIVE, _send(client_id="null"), Code.BAD_FRAME),
    ("P-3.5", "a string for a number", LIVE, _send(made_at=f'"{AT_MS}"'), Code.BAD_FRAME),
    ("P-3.5", "a number for a string", LIVE, _send(conv="1"), Code.BAD_FRAME),
    ("P-3.5", "a boolean for a number", LIVE, _send(made_at="true"), Code.BAD_FRAME),
    ("P-3.5", "a string for an array", LIVE, _send(more=',"mentions":"ben"'), Code.BAD_FRAME),
    ("P-3.6", "a fraction for an integer", LIVE, _send(made_at=f"{AT_MS}.5"), Code.BAD_FRAME),
    ("P-3.6", "an exponent in an integer", LIVE, _send(made_at="1e12"), Code.BAD_FRAME),
    ("P-3.6", "NaN", LIVE, _send(made_at="NaN"), Code.BAD_FRAME),
    ("P-1.5", "a lone surrogate in an id", LIVE, _send(conv='"\\ud800"'), Code.BAD_FRAME),
    ("P-1.5", "a lone surrogate in a body", LIVE, _send('{"text":"\\udfff"}'), Code.BAD_FRAME),
]  # fmt: skip

HELLOS: list[Case] = [
    ("P-5.1", "a ping before hello", NEW, '{"t":"ping"}', Code.FRAME_OUT_OF_ORDER),
    ("P-5.1", "a send before hello", NEW, _send(), Code.FRAME_OUT_OF_ORDER),
    ("P-5.1", "a second hello", LIVE, _hello(token=GOOD_TOKEN), Code.FRAME_OUT_OF_ORDER),
    ("P-5.2", "no token", NEW, '{"t":"hello","device":"phone"}', Code.BAD_FRAME),
    ("P-5.2", "an empty device", NEW, _hello(device=""), Code.BAD_FRAME),
    ("P-5.2", "a device with a control character", NEW, _hello(device="\\u0007"), Code.BAD_FRAME),
    ("P-5.2", "a name of the SDK that is too long", NEW, _around(_hello(',"sdk":"*"'), "x", 101), Code.BAD_FRAME),
    ("P-6.1", "no heartbeat", NEW, _hello(',"heartbeat_s":0'), Code.BAD_FRAME),
    ("P-6.1", "too slow a heartbeat", NEW, _hello(',"heartbeat_s":301'), Code.BAD_FRAME),
    ("P-4.3", "a token that is none", NEW, _hello(), Code.TOKEN_INVALID),
    ("P-4.3", "a token with a changed signature", NEW, _hello(token=GOOD_TOKEN[:-4] + "AAAA"), Code.TOKEN_INVALID),
    (
        "P-10.3", "a resume token that is none", NEW,
        _hello(',"resume":{"token":"AAAA","epoch":"e1"}', GOOD_TOKEN), Code.RESUME_REFUSED,
    ),
]  # fmt: skip

SENDS: list[Case] = [
    ("P-7.9", "a body that is an array", LIVE, _send("[]"), Code.INVALID_CONTENT),
    ("P-7.9", "a body that is a string", LIVE, _send('"hello"'), Code.INVALID_CONTENT),
    ("P-7.9", "a body that is null", LIVE, _send("null"), Code.INVALID_CONTENT),
    ("P-7.9", "a body that is too large", LIVE, _around(_send('{"a":"*"}'), "x", 32_768), Code.INVALID_CONTENT),
    ("P-7.9", "U+0000 in a body", LIVE, _send('{"text":"\\u0000"}'), Code.INVALID_CONTENT),
    ("P-7.9", "a number that no double can hold", LIVE, _send('{"n":1e999}'), Code.INVALID_CONTENT),
    (
        "P-7.9", "a body that is nested too deep", LIVE,
        [(_send("*").split("*")[0], 1), ('{"a":', 17), ("1", 1), ("}", 18)], Code.INVALID_CONTENT,
    ),
    ("P-8.2", "an empty client_id", LIVE, _send(client_id='""'), Code.INVALID_CONTENT),
    ("P-8.2", "a client_id that is too long", LIVE, _around(_send(client_id='"*"'), "é", 33), Code.INVALID_CONTENT),
    ("P-8.2", "a client_id with a control character", LIVE, _send(client_id='"a\\u0000"'), Code.INVALID_CONTENT),
    ("P-7.2", "an empty conversation id", LIVE, _send(conv='""'), Code.INVALID_CONTENT),
    ("P-7.2", "a conversation id with U+0000", LIVE, _send(conv='"a\\u0000b"'), Code.INVALID_CONTENT),
    ("P-7.2", "a conversation id that is too long", LIVE, _around(_send(conv='"*"'), "x", 129), Code.INVALID_CONTENT),
    ("P-8.4", "made_at is nought", LIVE, _send(made_at=0), Code.INVALID_CONTENT),
    ("P-8.4", "made_at is negative", LIVE, _send(made_at=-1), Code.INVALID_CONTENT),
    ("P-1.3", "made_at is 2^53", LIVE, _send(made_at=INTEGER_MAX + 1), Code.INVALID_CONTENT),
    ("P-1.3", "made_at has 30 digits", LIVE, _send(made_at="9" * 30), Code.INVALID_CONTENT),
    ("P-8.5", "a negative reply_to", LIVE, _send(more=',"reply_to":-1'), Code.INVALID_CONTENT),
    ("P-8.5", "a mentioned user whose id cannot be", LIVE, _send(more=',"mentions":[""]'), Code.INVALID_CONTENT),
    ("P-8.5", "51 mentions", LIVE, _around(_send(more=',"mentions":[*"ben"]'), '"ben",', 50), Code.INVALID_CONTENT),
    ("P-7.8", "a kind that is the server's", LIVE, _send(more=',"kind":"member.joined"'), Code.UNKNOWN_KIND),
    ("P-7.8", "a kind without the prefix", LIVE, _send(more=',"kind":"poll"'), Code.UNKNOWN_KIND),
    ("P-7.8", "a kind that is too long", LIVE, _around(_send(more=',"kind":"x.*"'), "k", 63), Code.UNKNOWN_KIND),
]  # fmt: skip

REQUESTS: list[Case] = [
    ("P-11.2", "a range with two ends", LIVE, _fetch('"after":1,"before":9'), Code.INVALID_REQUEST),
    ("P-11.2", "no entries at all", LIVE, _fetch('"limit":0'), Code.INVALID_REQUEST),
    ("P-11.2", "too many entries", LIVE, _fetch('"limit":201'), Code.INVALID_REQUEST),
    ("P-11.2", "after a negative number", LIVE, _fetch('"after":-1'), Code.INVALID_REQUEST),
    ("P-1.3", "before 2^53", LIVE, _fetch(f'"before":{2**53}'), Code.INVALID_REQUEST),
    ("P-11.5", "too many conversations", LIVE, '{"t":"list","ref":1,"limit":501}', Code.INVALID_REQUEST),
    ("P-12.1", "a negative cursor", LIVE, _cursors('{"conv":"c","read":-1}'), Code.INVALID_REQUEST),
    (
        "P-12.1", "too many cursors", LIVE,
        _around(_cursors('*{"conv":"c"}'), '{"conv":"c"},', CURSORS_MAX), Code.INVALID_REQUEST,
    ),
    ("P-4.5", "a renewal that is no token", LIVE, '{"t":"renew","ref":1,"token":"x"}', Code.TOKEN_INVALID),
]  # fmt: skip


def _too_many_positions() -> Case:
    logs = ",".join(f'"{n:x}":1' for n in range(POSITIONS_MAX + 1))
    before, after = _hello(',"resume":{"token":"AAAA","epoch":"e1","positions":{*}}', GOOD_TOKEN).split("*")
    return ("P-10.2", "too many positions", NEW, [(before, 1), (logs, 1), (after, 1)], Code.BAD_FRAME)


def cases() -> list[Case]:
    """Every invalid frame: rule, name, phase, bytes, code."""
    return [*BAD_FRAMES, *HELLOS, _too_many_positions(), *SENDS, *REQUESTS]


def document() -> Vector:
    """The file invalid_frames.json."""
    return {
        "about": "What a server refuses. `phase`: `new` before hello, `live` after welcome. A `code` below 4500 ends"
        " the session, with a goaway and as the close code (1007 without goaway); others come in an `error`. "
        + EXPLAINED,
        "frames": [
            {"rule": rule, "name": name, "phase": phase, **written(what), "code": int(code)}
            for rule, name, phase, what, code in cases()
        ],
    }
