"""The code agrees with the golden vectors that other implementations are tested against."""

from typing import Any

import msgspec
import pytest

from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.tokens import TokenError, TokenVerifier
from posthouse.gateway.wire import FINAL, TEXT, Reader, Violation
from posthouse.model.content import check_body
from posthouse.model.errors import InvalidContent, InvalidId
from posthouse.model.ids import account_id, account_user, check_conversation_id, check_id, direct_id, shard_of
from posthouse.protocol.codec import BadFrame, decode_client, decode_server, encode
from posthouse.protocol.codes import action_of
from spec.golden.frames import spelled_out
from tests.spec import vectors


@pytest.mark.parametrize("vector", vectors.of("frames", "frames", "from", "name"))
def test_a_valid_frame_says_what_its_vector_says(vector: dict[str, Any]) -> None:
    """P-3.2, P-3.7: fields in any order, and those that nobody knows ignored."""
    decode = decode_client if vector["from"] == "client" else decode_server
    assert spelled_out(decode(vectors.read(vector))) == vector["frame"]


@pytest.mark.parametrize("vector", vectors.of("frames", "frames", "from", "name"))
def test_a_frame_with_every_field_spelled_out_is_the_same_frame(vector: dict[str, Any]) -> None:
    """P-3.5: leaving a default out and saying it are one."""
    if vector["frame"] is None:
        return
    decode = decode_client if vector["from"] == "client" else decode_server
    frame = decode(msgspec.json.encode(vector["frame"]))
    assert frame is not None
    assert spelled_out(frame) == vector["frame"]
    again = decode(encode(frame))
    assert spelled_out(again) == vector["frame"]


@pytest.mark.parametrize(
    "vector", vectors.of("invalid_frames", "frames", "rule", "name", code=4301, phase="live")
)
def test_the_codec_refuses_what_is_no_frame(vector: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        decode_client(vectors.read(vector))


@pytest.mark.parametrize("vector", vectors.of("invalid_frames", "frames", "rule", "name", code=1007))
def test_the_websocket_refuses_what_is_no_utf_8(vector: dict[str, Any]) -> None:
    payload = vectors.read(vector)
    reader = Reader(1 << 16, 16, inflates=False)
    reader.feed(bytes((FINAL | TEXT, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
    with pytest.raises(Violation) as caught:
        reader.next_event()
    assert caught.value.code == 1007


@pytest.mark.parametrize("vector", vectors.of("bodies", "bodies", "name", valid=True))
def test_a_valid_body_is_taken(vector: dict[str, Any]) -> None:
    check_body(vectors.read(vector))


@pytest.mark.parametrize("vector", vectors.of("bodies", "bodies", "name", valid=False))
def test_an_invalid_body_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidContent):
        check_body(vectors.read(vector))


@pytest.mark.parametrize("vector", vectors.of("ids", "ids", "id"))
def test_an_id_is_valid_or_not(vector: dict[str, Any]) -> None:
    """P-7.2, P-7.5."""
    id_ = vector["id"]
    if vector["valid"]:
        assert check_id(id_, "user") == id_
    else:
        with pytest.raises(InvalidId):
            check_id(id_, "user")
    if vector["valid_for_a_new_group"]:
        assert check_conversation_id(id_) == id_
    else:
        with pytest.raises(InvalidId):
            check_conversation_id(id_)


@pytest.mark.parametrize("vector", vectors.of("ids", "direct", "users"))
def test_the_id_of_a_direct_conversation_follows_from_its_users(vector: dict[str, Any]) -> None:
    """P-7.4."""
    assert direct_id(*vector["users"]) == vector["conv"]


@pytest.mark.parametrize("vector", vectors.of("ids", "account", "user"))
def test_the_id_of_an_account_log_follows_from_its_user(vector: dict[str, Any]) -> None:
    """P-7.3."""
    assert account_id(vector["user"]) == vector["log"]
    assert account_user(vector["log"]) == vector["user"]


@pytest.mark.parametrize("vector", vectors.of("ids", "shards", "app", "log"))
def test_a_log_lies_in_the_shard_that_its_id_says(vector: dict[str, Any]) -> None:
    """P-7.6."""
    assert shard_of(vector["app"], vector["log"], 64) == vector["shard"]


@pytest.mark.parametrize("vector", vectors.of("codes", "codes", "code", "name"))
def test_a_code_asks_for_the_action_of_its_range(vector: dict[str, Any]) -> None:
    """P-13.1, P-13.2: also a code that has no name."""
    assert action_of(vector["code"]) == vector["action"]


@pytest.fixture(scope="module")
def verifier() -> TokenVerifier:
    document = vectors.load("tokens")
    apps: dict[str, AppKeys] = {}
    for each in document["keys"]:
        key = SigningKey(
            kid=each["kid"],
            algorithm=Algorithm(each["algorithm"]),
            secret=each.get("secret", ""),
            public_key=each.get("public_key", ""),
        )
        known = apps.get(each["app"], AppKeys()).signing
        apps[each["app"]] = AppKeys(signing=(*known, key))
    return TokenVerifier(apps, ttl_s_max=document["ttl_s_max"])


@pytest.mark.parametrize("vector", vectors.of("tokens", "tokens", "name"))
def test_a_token_is_accepted_or_refused_with_its_code(
    vector: dict[str, Any], verifier: TokenVerifier
) -> None:
    """P-4.1, P-4.2: also one whose header says another algorithm than its key's."""
    now_s = vectors.load("tokens")["now_s"]
    if vector["code"] == 0:
        identity = verifier.verify(vector["token"], now_s)
        assert (identity.app, identity.user) == ("acme", "ann")
    else:
        with pytest.raises(TokenError) as caught:
            verifier.verify(vector["token"], now_s)
        assert caught.value.code == vector["code"]
