"""How simulated clients reach simulated nodes: what is a WebSocket and what is HTTP in the product."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from posthouse.client.endpoints import LIST_PATH
from posthouse.client.errors import RequestFailed
from posthouse.client.http import Answer
from posthouse.client.transport import ConnectFailed, Receiver, Transport
from posthouse.gateway.websocket import SocketHandler
from posthouse.testing.simulation import links
from posthouse.testing.simulation.network import Host, Network, Unreachable
from posthouse.testing.simulation.nodes import SimulatedNode

ENDPOINTS_TTL_S, ALONE_TTL_S = 10.0, 5.0
HTTP_TIMEOUT_S = 2.0

Nodes = Mapping[str, SimulatedNode]


class Connector:
    """How a simulated client opens its connection."""

    def __init__(self, network: Network, nodes: Nodes, host: Host) -> None:
        self._network = network
        self._nodes = nodes
        self._host = host

    async def __call__(self, url: str, receiver: Receiver, tls: object) -> Transport:
        name = urlsplit(url).netloc
        node = self._nodes[name]

        def accept(end: links.ServerEnd) -> SocketHandler:
            try:
                return node.accept(end)
            except ConnectionRefusedError as error:
                raise ConnectFailed(str(error)) from None

        return await links.connect(self._network, self._host, name, accept, receiver)  # type: ignore[return-value]


class Http:
    """The REST API as far as simulated clients use it: the list of endpoints."""

    def __init__(self, network: Network, nodes: Nodes, host: Host) -> None:
        self._network = network
        self._nodes = nodes
        self._host = host

    async def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        """The answer of the node that the URL names. Raises `RequestFailed`."""
        parts = urlsplit(url)
        if parts.path != LIST_PATH:
            raise RequestFailed(f"{url} is not simulated")
        node = self._nodes[parts.netloc]

        def listed() -> Answer:
            listed = node.endpoints()
            content = msgspec.json.encode(
                {"endpoints": listed, "ttl_s": ALONE_TTL_S if node.alone else ENDPOINTS_TTL_S}
            )
            return Answer(200 if listed else 503, content)

        try:
            return await self._network.ask_within(HTTP_TIMEOUT_S, self._host, node.name, listed)
        except Unreachable as error:
            raise RequestFailed(str(error)) from None

    async def close(self) -> None:
        """Nothing is held."""
