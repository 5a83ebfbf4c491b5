"""Bodies: what is stored can be kept by every engine and read by every client; content bombs are refused cheaply."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from posthouse.model.content import BODY_BYTES_MAX, BODY_DEPTH_MAX, check_body
from posthouse.model.errors import InvalidContent

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)
BODIES = st.dictionaries(TEXTS, VALUES, max_size=4)


def depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def nested(levels: int, inner: str, opening: str, closing: str) -> bytes:
    return ('{"a":' + opening * (levels - 1) + inner + closing * (levels - 1) + "}").encode()


@given(BODIES, st.booleans(), st.sampled_from([None, 2]))
def test_every_object_within_the_limits_is_taken_however_it_is_written(
    body: dict[str, Any], plain: bool, indent: int | None
) -> None:
    raw = json.dumps(body, ensure_ascii=plain, indent=indent).encode()
    if depth(body) <= BODY_DEPTH_MAX and len(raw) <= BODY_BYTES_MAX:
        check_body(raw)


@given(BODIES, st.sampled_from(["x\0", "\0", "\\\0", "é\0é"]), st.booleans())
def test_u_0000_is_found_wherever_it_is(body: dict[str, Any], text: str, as_key: bool) -> None:
    """PostgreSQL takes it in no text, so no engine does."""
    body["z"] = [{text: 1} if as_key else {"k": [text]}]
    with pytest.raises(InvalidContent, match=r"U\+0000|deeper"):
        check_body(json.dumps(body).encode())


@given(BODIES)
def test_a_text_that_only_speaks_of_u_0000_is_taken(body: dict[str, Any]) -> None:
    body["z"] = "\\u0000"
    if depth(body) <= BODY_DEPTH_MAX:
        check_body(json.dumps(body).encode())


@given(st.binary(max_size=100))
def test_any_bytes_are_taken_or_refused_and_what_is_taken_is_an_object(raw: bytes) -> None:
    try:
        check_body(raw)
    except InvalidContent:
        return
    assert isinstance(json.loads(raw), dict)


@pytest.mark.parametrize(
    ("size", "fits"), [(BODY_BYTES_MAX - 1, True), (BODY_BYTES_MAX, True), (BODY_BYTES_MAX + 1, False)]
)
@pytest.mark.parametrize("char", ["x", "é", "😀"])
def test_the_size_of_a_body_is_counted_in_bytes(size: int, fits: bool, char: str) -> None:
    room = size - len(b'{"a":""}')
    each = len(char.encode())
    raw = b'{"a":"' + char.encode() * (room // each) + b"x" * (room % each) + b'"}'
    assert len(raw) == size
    if fits:
        check_body(raw)
    else:
        with pytest.raises(InvalidContent, match=f"at most {BODY_BYTES_MAX}"):
            check_body(raw)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"b":', "}"), ('[{"b":', "}]")])
def test_levels_are_counted_over_objects_and_arrays(opening: str, closing: str) -> None:
    each = 2 if opening.startswith("[{") else 1
    check_body(nested(1 + (BODY_DEPTH_MAX - 1) // each, "1", opening, closing))
    with pytest.raises(InvalidContent, match=f"deeper than {BODY_DEPTH_MAX}"):
        check_body(nested(2 + (BODY_DEPTH_MAX - 1) // each, "1", opening, closing))


BOMBS = [17, 50, 200, 400, 800, 1_000, 1_500, 6_000, 16_000]


@pytest.mark.parametrize("levels", BOMBS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("[[],", "]")])
@pytest.mark.parametrize("inner", ["1", '"\\u0000"'])
def test_deep_nesting_is_refused_however_deep(levels: int, opening: str, closing: str, inner: str) -> None:
    """Also where Python's own recursion ends."""
    raw = nested(levels, inner, opening, closing)
    with pytest.raises(InvalidContent):
        check_body(raw)


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "9" * 5_000, "NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1"]
)
def test_a_number_that_some_client_could_not_read_is_refused(number: str) -> None:
    with pytest.raises(InvalidContent):
        check_body(f'{{"n":{number}}}'.encode())


@pytest.mark.parametrize(
    "text", [r"\ud800", r"\udc00", r"\ude00\ud83d", r"x\ud800x", r"\ud800\u0041", r"\ud800\n"]
)
@pytest.mark.parametrize("form", ['{"a":"%s"}', '{"%s":1}', '{"a":["%s"]}'])
def test_a_lone_surrogate_is_refused(text: str, form: str) -> None:
    with pytest.raises(InvalidContent):
        check_body((form % text).encode())


@pytest.mark.parametrize(
    "raw", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"]
)
def test_bytes_that_are_no_utf_8_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidContent):
        check_body(b'{"a":"' + raw + b'"}')


def test_a_body_full_of_backslashes_before_u0000_is_taken() -> None:
    """The cheap look for the escape decides nothing by itself."""
    raw = b'{"a":"' + rb"\\u0000" * 4_000 + b'"}'
    assert "\0" not in json.loads(raw)["a"]
    check_body(raw)
