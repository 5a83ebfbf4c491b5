"""The opening handshake of a WebSocket (RFC 6455, section 4) and the answers that refuse it. Pure."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from posthouse.gateway import deflate

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """A client's request to open a WebSocket. Header names are in lower case; repeated ones are joined by `, `."""

    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer in place of a WebSocket. `reason` is one sentence for the client's developer."""

    status: int
    reason: str
    retry_after_ms: int = 0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both ends speak once the WebSocket is open; `extension` is empty without compression."""

    accept: str
    subprotocol: str
    extension: str


class Refused(Exception):
    """The request cannot be upgraded; `counter` names the statistic that counts it."""

    def __init__(self, refusal: Refusal, counter: str = "upgrades_bad") -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal
        self.counter = counter


def target_path(head: bytes) -> bytes:
    """The path of a request head, without its query; of anything else, some bytes that are no path of ours."""
    target = head.partition(b"\r\n")[0].split(b" ")[1:2]
    return target[0].partition(b"?")[0] if target else b""


def parse(head: bytes) -> UpgradeRequest:
    """Read a request head (without the empty line that ends it); raises `Refused`."""
    first, *lines = head.split(b"\r\n")
    words = first.decode("latin-1").split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise Refused(Refusal(400, "a WebSocket opens with an HTTP/1.1 request"))
    if words[0] != "GET":
        raise Refused(Refusal(405, "a WebSocket opens with GET", headers=(("Allow", "GET"),)))
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if not match:
            raise Refused(Refusal(400, "a header of the request is malformed"))
        name, value = match[1].decode().lower(), match[2].decode("latin-1").rstrip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = words[1].partition("?")
    return UpgradeRequest(path, query, headers)


def negotiate(request: UpgradeRequest, subprotocol: str, allowed_origins: Sequence[str]) -> Agreement:
    """What the two ends will speak; raises `Refused`. A request without `Origin` comes from no browser and passes."""
    headers = request.headers
    _check_upgrade(headers)
    if "*" not in allowed_origins and headers.get("origin") not in (None, *allowed_origins):
        raise Refused(Refusal(403, "this origin may not connect"), "origins_refused")
    if subprotocol not in _words(headers, "sec-websocket-protocol"):
        reason = f"offer the subprotocol {subprotocol} in Sec-WebSocket-Protocol"
        raise Refused(Refusal(400, reason), "subprotocols_refused")
    extension = deflate.negotiate(headers.get("sec-websocket-extensions", "")) or ""
    return Agreement(_accept(headers.get("sec-websocket-key", "")), subprotocol, extension)


def _check_upgrade(headers: Mapping[str, str]) -> None:
    words = {word.lower() for word in _words(headers, "upgrade")}
    if "websocket" not in words or "upgrade" not in {word.lower() for word in _words(headers, "connection")}:
        asked_for = (("Upgrade", "websocket"),)
        raise Refused(
            Refusal(426, "this path speaks WebSocket: ask for `Upgrade: websocket`", headers=asked_for)
        )
    if headers.get("sec-websocket-version") != "13":
        known = (("Sec-WebSocket-Version", "13"),)
        raise Refused(Refusal(426, "this server speaks WebSocket version 13", headers=known))
    if "host" not in headers or "," in headers["host"]:
        raise Refused(Refusal(400, "the request has no Host, or several"))
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise Refused(Refusal(400, "a request that opens a WebSocket has no body"))


def _accept(key: str) -> str:
    try:
        right_size = len(base64.b64decode(key.encode("ascii"), validate=True)) == 16
    except (UnicodeEncodeError, binascii.Error):
        right_size = False
    if not right_size:
        raise Refused(Refusal(400, "Sec-WebSocket-Key is not the base64 of 16 bytes"))
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def _words(headers: Mapping[str, str], name: str) -> list[str]:
    return [word.strip() for word in headers.get(name, "").split(",")]


def switching(agreement: Agreement) -> bytes:
    """The response that opens the WebSocket."""
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", agreement.accept),
        ("Sec-WebSocket-Protocol", agreement.subprotocol),
    ]
    if agreement.extension:
        headers.append(("Sec-WebSocket-Extensions", agreement.extension))
    return _response(101, headers)


def refusing(refusal: Refusal) -> bytes:
    """The response that refuses. Its body is JSON: `reason`, and `retry_after_ms` if there is one."""
    content: dict[str, object] = {"reason": refusal.reason}
    headers = [*refusal.headers, ("Connection", "close"), ("Content-Type", "application/json")]
    if refusal.retry_after_ms:
        content["retry_after_ms"] = refusal.retry_after_ms
        headers.append(("Retry-After", str(-(-refusal.retry_after_ms // 1000))))
    body = json.dumps(content).encode()
    return _response(refusal.status, [*headers, ("Content-Length", str(len(body)))]) + body


def _response(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
