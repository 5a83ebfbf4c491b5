"""Connections between a simulated client and a simulated node, message by message, in the place of WebSockets.

Each direction keeps its order. A connection that breaks is noticed by whoever can still be reached; behind a cut it
stays half-open, until a heartbeat is missed.
"""

from collections import deque
from collections.abc import Callable

from posthouse.client.transport import ConnectFailed, Receiver
from posthouse.gateway.websocket import Frame, SocketHandler
from posthouse.gateway.wire import ABNORMAL
from posthouse.testing.simulation.network import Host, Network, Unreachable

Accept = Callable[["ServerEnd"], SocketHandler]
CONNECT_TIMEOUT_S = 10.0


def _nothing() -> None:
    """For pipes that nobody ends."""


class Pipe:
    """One direction: what is put in at one host comes out at the other, in order."""

    def __init__(
        self,
        source: Host,
        target: Host,
        deliver: Callable[[bytes], None],
        ended: Callable[[], None] = _nothing,
    ) -> None:
        self._source = source
        self.target = target
        self._deliver = deliver
        self._ended = ended
        self._queue: deque[bytes | None] = deque()
        self._flowing = False

    @property
    def waiting_bytes(self) -> int:
        """What has not left yet."""
        return sum(len(item) for item in self._queue if item is not None)

    def put(self, item: bytes | None) -> None:
        """Send a message; None ends the pipe after what was sent before."""
        if not self._source.alive:
            return
        self._queue.append(item)
        if not self._flowing:
            self._flowing = True
            self._source.network.tasks.spawn("pipe", self._flow())

    async def _flow(self) -> None:
        network, source, target = self._source.network, self._source, self.target
        while self._queue:
            ready = len(self._queue)
            await source.awake_or_dead()
            await network.travel(source.name, target.name)
            await target.awake_or_dead()
            for _ in range(ready):
                item = self._queue.popleft()
                if not target.alive:
                    continue
                if item is None:
                    self._ended()
                else:
                    self._deliver(item)
        self._flowing = False


class ServerEnd:
    """The node's end of a connection: what `gateway.websocket.Socket` is in the product."""

    def __init__(self, link: "Link", peer: str) -> None:
        self.peer = peer
        self.handler: SocketHandler | None = None
        self._link = link
        self._code = 0

    @property
    def buffered_bytes(self) -> int:
        """What waits to be written."""
        return self._link.down.waiting_bytes

    def send(self, frame: Frame) -> None:
        """Queue a message; after `close`, do nothing."""
        if not self._code:
            self._link.down.put(frame.message)

    def close(self, code: int, reason: str = "") -> None:
        """End the connection after what was sent."""
        if not self._code:
            self._code = code
            self._link.close_code = code, reason
            self._link.down.put(None)
            self._link.node.tasks.spawn("closed", self._closed())

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.close(ABNORMAL)

    async def _closed(self) -> None:
        self.lost()

    def received(self, message: bytes) -> None:
        """A message came from the client."""
        if not self._code and self.handler is not None:
            self.handler.received(message)

    def lost(self) -> None:
        """The client is gone, or the connection is closed by us."""
        handler, self.handler = self.handler, None
        self._code = self._code or ABNORMAL
        if handler is not None:
            handler.closed(self._code)


class ClientEnd:
    """The client's end of a connection: what `client.transport.Transport` is in the product."""

    def __init__(self, link: "Link", receiver: Receiver) -> None:
        self._link = link
        self._receiver: Receiver | None = receiver

    @property
    def gone(self) -> bool:
        """True when the connection was lost, or closed by us."""
        return self._receiver is None

    def send(self, messages: list[bytes]) -> None:
        """Write messages; those to a connection that is gone are dropped."""
        if not self.gone:
            for message in messages:
                self._link.up.put(message)

    def close(self) -> None:
        """End the connection politely; nothing is heard of it any more."""
        self.abort()

    def reject(self) -> None:
        """End a connection whose other end broke the protocol."""
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._receiver is not None:
            self._receiver = None
            self._link.up.put(None)

    def received(self, message: bytes) -> None:
        """A message came from the node."""
        if self._receiver is not None:
            self._receiver.received(message)

    def lost(self) -> None:
        """The node is gone."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(self, *self._link.close_code)  # type: ignore[arg-type]  # in the place of a Transport


class Link:
    """One connection."""

    def __init__(self, client: Host, node: Host, receiver: Receiver) -> None:
        self.client = client
        self.node = node
        self.close_code = (0, "")
        self.server_end = ServerEnd(self, client.name)
        self.client_end = ClientEnd(self, receiver)
        self.up = Pipe(client, node, self.server_end.received, self.server_end.lost)
        self.down = Pipe(node, client, self.client_end.received, self.client_end.lost)
        node.ended.append(self._node_ended)
        client.ended.append(self._client_ended)

    def break_off(self) -> None:
        """The network resets the connection: both ends notice, if they can be reached."""
        self._node_ended()
        self._client_ended()

    def _node_ended(self) -> None:
        self.node.network.tasks.spawn("reset", self._tell(self.node, self.client, self.client_end.lost))

    def _client_ended(self) -> None:
        self.client.network.tasks.spawn("reset", self._tell(self.client, self.node, self.server_end.lost))

    async def _tell(self, source: Host, target: Host, lost: Callable[[], None]) -> None:
        await source.network.travel(source.name, target.name)
        await target.awake_or_dead()
        if target.alive:
            lost()


async def connect(network: Network, client: Host, node: str, accept: Accept, receiver: Receiver) -> ClientEnd:
    """Open a connection from a client to a node. Raises `ConnectFailed`."""

    async def accepted() -> ClientEnd:
        link = Link(client, network.hosts[node], receiver)
        link.server_end.handler = accept(link.server_end)
        return link.client_end

    try:
        return await network.call_within(CONNECT_TIMEOUT_S, client, node, accepted)
    except Unreachable as error:
        raise ConnectFailed(str(error)) from None
