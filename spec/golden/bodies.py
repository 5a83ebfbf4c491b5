"""Bodies of entries: which ones the service stores."""

from posthouse.model.content import BODY_BYTES_MAX, BODY_DEPTH_MAX
from spec.golden.notation import EXPLAINED, Parts, Vector, written

Body = str | bytes | Parts


def _padded(size_bytes: int) -> Parts:
    return [('{"a":"', 1), ("x", size_bytes - len('{"a":""}')), ('"}', 1)]


def _nested(levels: int, opening: str = '{"a":', closing: str = "}") -> Parts:
    """A body of so many levels, its own object included."""
    return [('{"a":', 1), (opening, levels - 1), ("1", 1), (closing, levels - 1), ("}", 1)]


VALID: list[tuple[str, Body]] = [
    ("an empty object", "{}"),
    ("a text", '{"text":"hello"}'),
    ("every kind of value", '{"a":[null,true,false,0,-1,1.5e3,"x",{},[]]}'),
    ("white space around and within", ' {\n"a" : 1\t} '),
    ("all of Unicode", '{"王":"é e\u0301 😀 \u202e \ufeff \uffff \u2028"}'),
    ("escapes, pairs of surrogates among them", '{"a":"\\u00e9\\ud83d\\ude00\\n\\"\\\\\\/"}'),
    ("a backslash before u0000, which is not the character", '{"a":"\\\\u0000"}'),
    ("the escape of another character that begins with zeros", '{"a":"\\u0001"}'),
    ("a control character that is escaped", '{"a":"\\u001f"}'),
    ("a brace in a text is no level", [('{"a":"', 1), ("{[", 100), ('"}', 1)]),
    ("the largest size", _padded(BODY_BYTES_MAX)),
    ("the deepest objects", _nested(BODY_DEPTH_MAX)),
    ("the deepest arrays", _nested(BODY_DEPTH_MAX, "[", "]")),
    ("many levels side by side", [('{"a":[', 1), ("[],", 5_000), ("{}]}", 1)]),
    ("a key twice: kept as it is, and nobody may rely on either value", '{"a":1,"a":2}'),
    ("an integer beyond 2^53, which some clients will round", '{"a":9007199254740993}'),
]

INVALID: list[tuple[str, Body]] = [
    ("nothing", ""),
    ("white space only", "  "),
    ("an array", "[]"),
    ("a string", '"hello"'),
    ("a number", "1"),
    ("null", "null"),
    ("cut short", '{"a":1'),
    ("a closing brace too many", "{}}"),
    ("two objects", "{}{}"),
    ("single quotes", "{'a':1}"),
    ("a trailing comma", '{"a":1,}'),
    ("a comment", "{}//x"),
    ("a key that is no string", "{1:2}"),
    ("a byte order mark", "\ufeff{}"),
    ("NaN", '{"a":NaN}'),
    ("Infinity", '{"a":-Infinity}'),
    ("a number that no double can hold", '{"a":1e999}'),
    ("an integer of 5,000 digits", [('{"a":', 1), ("9", 5_000), ("}", 1)]),
    ("a leading zero", '{"a":01}'),
    ("a control character that is not escaped", '{"a":"\n"}'),
    ("U+0000 unescaped", '{"a":"\u0000"}'),
    ("U+0000 in a text", '{"a":"\\u0000"}'),
    ("U+0000 deep inside", '{"a":[{"b":["x\\u0000"]}]}'),
    ("U+0000 in a key", '{"\\u0000":1}'),
    ("U+0000 after a backslash of its own", '{"a":"\\\\\\u0000"}'),
    ("a high surrogate alone", '{"a":"\\ud800"}'),
    ("a low surrogate alone", '{"a":"\\udc00x"}'),
    ("surrogates in the wrong order", '{"a":"\\ude00\\ud83d"}'),
    ("a lone surrogate in a key", '{"\\ud800":1}'),
    ("bytes that are no UTF-8", b'{"a":"\xff"}'),
    ("a surrogate encoded in UTF-8", b'{"a":"\xed\xa0\x80"}'),
    ("an overlong encoding", b'{"a":"\xc0\xaf"}'),
    ("one byte too large", _padded(BODY_BYTES_MAX + 1)),
    ("one level too deep", _nested(BODY_DEPTH_MAX + 1)),
    ("one level of arrays too deep", _nested(BODY_DEPTH_MAX + 1, "[", "]")),
    ("500 levels", _nested(500)),
    ("900 levels", _nested(900)),
    ("3,000 levels", _nested(3_000)),
    ("10,000 levels of arrays", _nested(10_000, "[", "]")),
    ("900 levels above U+0000", [('{"a":', 900), ('"\\u0000"', 1), ("}", 900)]),
    ("levels that are never closed", [('{"a":', 1), ("[", 10_000)]),
]


def document() -> Vector:
    """The file bodies.json."""
    made = [{"name": name, "valid": True, **written(body)} for name, body in VALID]
    made += [{"name": name, "valid": False, **written(body)} for name, body in INVALID]
    return {
        "about": "Bodies of entries (P-7.9): `valid` ones are stored byte for byte, others are refused with 4603. "
        + EXPLAINED,
        "bodies": made,
    }
