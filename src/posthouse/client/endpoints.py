"""Addresses as an application gives them, and endpoints as a node lists them. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

import msgspec

from posthouse.client.errors import InvalidArgument
from posthouse.kit.malformed import MALFORMED

ENDPOINTS_MAX = 64
SOCKET_PATH = "/v1/ws"
LIST_PATH = "/v1/endpoints"
_SOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HTTP_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


class Endpoint(msgspec.Struct, frozen=True):
    """An address that clients connect to; twice the weight is chosen twice as often. 0: only when all others fail."""

    url: str
    weight: float = 1.0


class EndpointList(msgspec.Struct, frozen=True):
    """The answer to `GET /v1/endpoints`, the best for whoever asked first."""

    endpoints: tuple[Endpoint, ...]
    ttl_s: float = 60.0


class Address(msgspec.Struct, frozen=True):
    """What an `address` means: the API's base, the endpoint to fall back on, whether to ask for others."""

    api: str
    fallback: Endpoint
    asks: bool


def parse_addresses(addresses: str | Sequence[str]) -> tuple[Address, ...]:
    """One address or several, each as `parse_address`. Raises `InvalidArgument`."""
    each = [addresses] if isinstance(addresses, str) else list(addresses)
    if not 0 < len(each) <= ENDPOINTS_MAX:
        raise InvalidArgument(f"give 1 to {ENDPOINTS_MAX} addresses, not {len(each)}")
    return tuple(dict.fromkeys(parse_address(address) for address in each))


def parse_address(address: str) -> Address:
    """`http(s)://host:port` asks for endpoints; `ws(s)://…` names the one endpoint. Raises `InvalidArgument`."""
    problem = f"{address!r} is no address; write http://host:port (or https://host)"
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        valid = parts.scheme in _SOCKET_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise InvalidArgument(problem) from None
    if not valid:
        raise InvalidArgument(problem)
    names_socket = parts.scheme in ("ws", "wss")
    base = parts.path.rstrip("/")
    socket_path = base if names_socket and base else base + SOCKET_PATH
    socket = urlunsplit((_SOCKET_SCHEMES[parts.scheme], parts.netloc, socket_path, "", ""))
    api = urlunsplit((_HTTP_SCHEMES[parts.scheme], parts.netloc, base.removesuffix(SOCKET_PATH), "", ""))
    return Address(api, Endpoint(socket), asks=not names_socket)


def read_list(body: bytes) -> EndpointList | None:
    """What a node has answered; None when it names no endpoint, or is no list."""
    try:
        listed = msgspec.json.decode(body, type=EndpointList)
    except MALFORMED:
        return None
    return listed if listed.endpoints else None


def is_socket(url: str) -> bool:
    """True for what can be an endpoint at all; a node, or something in front of it, may have named anything."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def api_of(url: str) -> str:
    """The base of the REST API beside an endpoint."""
    parts = urlsplit(url)
    base = parts.path.rstrip("/").removesuffix(SOCKET_PATH)
    return urlunsplit((_HTTP_SCHEMES.get(parts.scheme, parts.scheme), parts.netloc, base, "", ""))
