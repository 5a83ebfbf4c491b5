"""Fuzzes what the SDK reads of HTTP answers and of its own token: what they say, or the SDK's own errors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS
from posthouse.client import rest
from posthouse.client.endpoints import parse_addresses, read_list
from posthouse.client.errors import RequestFailed
from posthouse.client.http import Answer
from posthouse.client.route import Route
from posthouse.client.token import read_claims, renew_in_s
from posthouse.model.conversation import Conversation

NOW_MS = 1_767_225_600_000


def check(data: bytes) -> None:
    for kind in (rest.Created, rest.MembersPage, Conversation):
        try:
            assert isinstance(rest._decode(data, kind), kind)
        except RequestFailed as error:
            assert len(str(error)) < 1_000
    for status in (400, 401, 503):
        assert rest._error_of(Answer(status, data)).code
    for address in ("http://chat.example", "https://chat.example"):
        _check_endpoints(data, address)
    _check_claims(data.decode("latin-1"))


def _check_endpoints(body: bytes, address: str) -> None:
    """Whatever is listed, there is somewhere to go, and nobody leads away from TLS."""
    route = Route(parse_addresses(address))
    listed = read_list(body)
    if listed is not None:
        assert listed.endpoints
        route.learn(listed.endpoints, listed.ttl_s, 0.0, 0.5)
    for url in route.candidates(0.0, lambda: 0.7):
        assert url.startswith("wss:" if route.secure else ("ws:", "wss:")), url
        route.fail(url, 0.0, 0.5)
    assert route.candidates(0.0, lambda: 0.2)
    assert all(api.startswith(("http:", "https:")) for api in route.apis())


def _check_claims(token: str) -> None:
    claims = read_claims(token)
    due_s = renew_in_s(token, NOW_MS)
    assert due_s is None or due_s >= 0
    assert due_s is None or claims.exp > 0


def _token(claims: bytes) -> bytes:
    from base64 import urlsafe_b64encode

    return b"e30." + urlsafe_b64encode(claims).rstrip(b"=") + b".sig"


SEEDS = [
    b'{"conv":"team"}',
    b'{"members":[{"user":"ann","role":"owner","since_seq":1}],"next_after":"ann"}',
    b'{"conv":"team","kind":"group","head":3,"first_seq":1,"history":"joined","members":2,"created_ms":1,"properties":{"a":1}}',
    b'{"code":4602,"name":"not_member","reason":"you are not a member","retry_after_ms":5}',
    b'{"endpoints":[{"url":"wss://n1/v1/ws","weight":3.5,"reason":"r"},{"url":"ws://n2/v1/ws","weight":0}],"ttl_s":60}',
    b'{"endpoints":[{"url":"wss://[::1]:8443/base/v1/ws"},{"url":"ws://h:99999"}],"ttl_s":0.001}',
    b"<html>502 Bad Gateway</html>",
    _token(b'{"sub":"ann","exp":1767229200}'),
    _token(b'{"exp":"1767229200","x":[[[]]]}'),
    _token(b'{"exp":1e308}'),
]  # fmt: skip
WORDS = [
    *JSON_WORDS, b"ws://", b"wss://", b"http://", b"[", b"]:", b":99999", b"@", b"\\u2100", b'"weight":', b"-1",
    b"e30.",
    b"eyJleHAi", b".", b"=", b"-", b"_", b'"ttl_s":', b'"code":4501', b'"retry_after_ms":',
]  # fmt: skip

MODULES = ("posthouse.client.",)
FUZZER = Fuzzer("api_answers", check, MODULES, SEEDS, WORDS, size_max=20_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
