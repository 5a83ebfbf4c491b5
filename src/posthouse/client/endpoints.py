"""Which endpoint to try next: a weighted choice that passes over those that have just failed. Pure."""

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

import msgspec

from posthouse.client.errors import InvalidArgument

ENDPOINTS_MAX = 64
SOCKET_PATH = "/v1/ws"
LIST_PATH = "/v1/endpoints"
_SOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HTTP_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


class Endpoint(msgspec.Struct, frozen=True):
    """An address that clients connect to; twice the weight is chosen twice as often."""

    url: str
    weight: float = 1.0


class EndpointList(msgspec.Struct, frozen=True):
    """The answer to `GET /v1/endpoints`."""

    endpoints: tuple[Endpoint, ...]
    ttl_s: float = 60.0


class Address(msgspec.Struct, frozen=True):
    """What an `address` means: the API's base, the endpoint to fall back on, whether to ask for others."""

    api: str
    fallback: Endpoint
    asks: bool


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


class Route:
    """One client's view of the endpoints: which there are, which failed in this outage, where it was sent to."""

    __slots__ = ("_endpoints", "_failed", "_preferred", "current")

    def __init__(self, fallback: Endpoint) -> None:
        self._endpoints: tuple[Endpoint, ...] = (fallback,)
        self._failed: set[str] = set()
        self._preferred = ""
        self.current = fallback.url

    def learn(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace what is known; an empty list changes nothing."""
        usable = tuple(each for each in endpoints if each.weight > 0)[:ENDPOINTS_MAX]
        if usable:
            self._endpoints = usable
            self._failed &= {each.url for each in usable}

    def prefer(self, url: str) -> None:
        """The server named where to go next."""
        self._preferred = url

    def choose(self, uniform: float) -> str:
        """The endpoint to try now; `uniform` is a random number in [0, 1)."""
        if self._preferred:
            self.current, self._preferred = self._preferred, ""
            return self.current
        open_ones = [each for each in self._endpoints if each.url not in self._failed]
        self.current = _weighted(open_ones or list(self._endpoints), uniform).url
        return self.current

    def fail(self) -> bool:
        """The current endpoint broke or refused. True when one remains that has not; else all may be tried anew."""
        self._failed.add(self.current)
        if any(each.url not in self._failed for each in self._endpoints):
            return True
        self._failed.clear()
        return False

    def succeed(self) -> None:
        """A session stands: the outage is over."""
        self._failed.clear()


def _weighted(endpoints: list[Endpoint], uniform: float) -> Endpoint:
    mark = uniform * sum(each.weight for each in endpoints)
    for each in endpoints:
        mark -= each.weight
        if mark < 0:
            return each
    return endpoints[-1]
