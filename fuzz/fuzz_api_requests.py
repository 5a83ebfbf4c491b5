"""Fuzzes what the API reads of a request to any of its routes: parts that are as their types say, or `ApiError`."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

import msgspec

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS, entry_bodies
from posthouse.api.call import Call
from posthouse.api.errors import ApiError
from posthouse.api.routes import Route
from posthouse.api.shapes import Asked
from posthouse.api.web import ROUTES
from posthouse.model.ids import check_id

BETWEEN = b"\0"
"""Stands between the ids of a path, the query and the body. The first byte chooses the route."""


def check(data: bytes) -> None:
    route = ROUTES[data[0] % len(ROUTES) if data else 0]
    conv, user, query, body = (*data[1:].split(BETWEEN, 3), b"", b"", b"", b"")[:4]
    ids = {"conv": conv.decode("utf-8", "replace"), "user": user.decode("utf-8", "replace")}
    path = {name: value for name, value in ids.items() if f"{{{name}}}" in route.path}
    asked = parse_qs(query.decode("utf-8", "replace"), keep_blank_values=True)
    for part in _parts(route, path, asked, body).values():
        msgspec.json.encode(part)
        for name in ("user", "sender", "device", "after") if isinstance(part, Asked) else ():
            value = getattr(part, name, "")
            assert not isinstance(value, str) or not value or check_id(value, name)


def _parts(route: Route, path: dict[str, str], query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
    """What the handler would be given."""
    given: dict[str, Any] = {}

    async def handler(call: Call, **parts: Any) -> None:
        given.update(parts)

    reading = dataclasses.replace(route, handler=handler).run(cast("Call", None), path, query, body)
    try:
        reading.send(None)
    except StopIteration:
        pass
    except ApiError as error:
        assert error.status in (400, 422), error
        assert error.reason.isprintable()
    return given


def request(name: str, conv: bytes = b"", user: bytes = b"", query: bytes = b"", body: bytes = b"") -> bytes:
    at = next(at for at, route in enumerate(ROUTES) if route.name == name)
    return bytes((at,)) + BETWEEN.join((conv, user, query, body))


_CREATED = b'{"kind":"group","conv":"team","members":["ann",{"user":"ben","role":"admin"}],"title":"t","properties":{}}'
SEEDS = [
    *(request(route.name, b"team", b"ann", body=b"{}") for route in ROUTES),
    request("create_conversation", body=_CREATED),
    request("put_user", user="王".encode(),
    body=b'{"name":"A","avatar":"http://a","properties":{"x":[1]},"blocked":true}'),
    request("list_entries", b"=direct", query=b"after=5&limit=500"),
    request("list_cursors", b"team", query=b"users=ann&users=ben"),
    request("get_users", query=b"ids=ann&ids=%E7%8E%8B"),
    request("list_events", query=b"limit=5&kind=drain&subject=n1"),
    request("create_token", body=b'{"user":"ann","device":"d","ttl_s":60}'),
    request("drain_node", body=b'{"node":"n1","within_s":1.5,"undo":false}'),
    *(request("send_entry", b"team", body=b'{"client_id":"k","body":%s}' % body) for body in entry_bodies()),
]  # fmt: skip
WORDS = [
    *JSON_WORDS, BETWEEN, b"&", b"=", b"%00", b"%ff", b"limit=", b"after=", b"ids=", b"users=", b'"role":"reader"',
    b"~", b" ",
    b'"properties":', b'"sender":"ann"', b'"mentions":["ann"]', b'"made_at":', b"\xc2\x85", b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
]  # fmt: skip

MODULES = ("posthouse.api.", "posthouse.model.")
FUZZER = Fuzzer("api_requests", check, MODULES, SEEDS, WORDS)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
