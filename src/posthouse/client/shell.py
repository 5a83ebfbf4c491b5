"""Runs the core: socket, alarm, store, token source. Single-threaded on the event loop; idle clients have no task.

Everything the core decides is carried out in `flush`; every entrance from outside ends with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from math import inf
from typing import Any, NamedTuple

from posthouse.client.connection import Ending, State
from posthouse.client.core import Core
from posthouse.client.endpoints import Address
from posthouse.client.errors import (
    ClientClosed,
    ClientError,
    NotConnected,
    SendRefused,
    StoreFailed,
    StoreMismatch,
)
from posthouse.client.events import ConversationJoined, ConversationLeft, EntryReceived, Event
from posthouse.client.host import Order, Saved, Sent, Settings
from posthouse.client.outbox import Item
from posthouse.client.requests import Answer
from posthouse.client.runtime import Runtime
from posthouse.client.store import LAZY_S, Store
from posthouse.client.stream import Stream
from posthouse.client.token import renew_in_s
from posthouse.client.transport import ConnectFailed, Transport
from posthouse.kit.tasks import start
from posthouse.model.ids import account_id
from posthouse.protocol.frames import Error, Frame, Send

TOKEN_TIMEOUT_S = 30.0
LOOK_S_MAX = 1.0
"""How long the first attempt waits to be told of endpoints before it makes do with the addresses given."""
TokenSource = str | Callable[[], str | Awaitable[str]]


class Options(NamedTuple):
    """What an application chose."""

    addresses: Sequence[Address]
    token: TokenSource
    settings: Settings
    user: str = ""
    device: str = ""
    store_path: str = ""
    events_max: int = 1_000


class Shell:
    """One client at work. Implements the core's `Host` and the socket's `Receiver`."""

    __slots__ = (
        "_alarm_at", "_closed", "_dials", "_drained", "_flush_soon", "_lazy", "_options", "_pending", "_prefix",
        "_sends", "_socket", "_store", "_synced", "_token", "core", "emit", "runtime", "stream",
    )  # fmt: skip

    def __init__(self, options: Options, runtime: Runtime) -> None:
        self.runtime = runtime
        taken = self._taken if options.store_path else None
        self.stream = Stream(options.events_max, self._make_room, taken)
        self.emit = self.stream.offer
        self.core: Core | None = None
        self._options = options
        self._store: Store | None = None
        self._socket: Transport | None = None
        self._token = ""
        self._alarm_at = inf
        self._dials: dict[str, asyncio.Task[Transport]] = {}
        self._lazy = False
        self._flush_soon = False
        self._closed = False
        self._synced = asyncio.Event()
        self._drained: list[asyncio.Future[None]] = []
        self._pending: dict[asyncio.Future[Answer | Error], None] = {}
        self._prefix = f"{runtime.rng.getrandbits(64):016x}-"
        self._sends = 0

    # Life

    async def start(self) -> None:
        """Open the store and begin to connect; returns before there is a connection. Raises `StoreFailed`."""
        saved = Saved()
        sends: list[Send] = []
        if self._options.store_path:
            self._store = Store(self._options.store_path, self._stored)
            saved, sends = await self._store.open()
        saved = await self._check(saved)
        self.core = core = Core(
            self._options.settings,
            self._options.addresses,
            self.runtime.clock,
            self.runtime.rng.random,
            self,
            saved,
        )
        for send in sends:
            core.outbox.reserved += 1
            core.post(Item(send))
        core.start()
        if self.stream.pumps:
            self.run_pump()
        self.flush()

    @property
    def user(self) -> str:
        """The user, as far as it is known: given, stored, or said by the server."""
        return self.core.user if self.core is not None else self._options.user

    def run_pump(self) -> None:
        """Start awaiting async callbacks."""
        self.runtime.tasks.spawn("client callbacks", self.stream.pump())

    async def close(self) -> None:
        """End the connection, tell everybody who waits, and write the store; raises `StoreFailed`."""
        if self.core is not None and not self._closed:
            self.core.close()
            self.flush()
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()

    async def wait_synced(self, timeout_s: float) -> None:
        """Return when it is known what each conversation lacks; raises `NotConnected`, or what closed the client."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._synced.wait()
        except TimeoutError:
            reason = self.running().last_ending.reason or "the server did not answer"
            raise NotConnected(f"no session within {timeout_s:g} s: {reason}") from None
        self.running()

    async def wait_drained(self) -> None:
        """Return when every message posted so far has been settled."""
        core = self.running()
        if core.outbox.reserved:
            future = asyncio.get_running_loop().create_future()
            self._drained.append(future)
            await future

    def running(self) -> Core:
        """The core; raises `ClientClosed` or what ended the client, when it does not run."""
        core = self.core
        if core is None:
            raise ClientClosed("the client is not started: use `async with Client(...)`, or await start()")
        if self._closed:
            raise core.error or ClientClosed("the client is closed")
        return core

    async def _check(self, saved: Saved) -> Saved:
        """Put options and store together."""
        options = self._options
        device = options.device or saved.device or f"py-{self.runtime.rng.getrandbits(96):024x}"
        if saved.device not in ("", device):
            await self._refuse_store(f"the store belongs to device {saved.device!r}, not {device!r}")
        if options.user and saved.user not in ("", options.user):
            await self._refuse_store(f"the store belongs to user {saved.user!r}, not {options.user!r}")
        saved = saved._replace(device=device, user=options.user or saved.user)
        if self._store is not None:
            if not saved.listed:  # a list that was not read to its end is read anew
                self._store.forget_positions()
            self._store.remember(saved)
            self._write_soon()
        return saved

    async def _refuse_store(self, why: str) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            await store.close()
        raise StoreMismatch(why)

    # What the application asks

    def next_client_id(self) -> str:
        """A name for a send: never used before, by any run of any client."""
        self._sends += 1
        return f"{self._prefix}{self._sends:x}"

    def post(self, item: Item) -> None:
        """Take a send whose place is reserved: into the store first, if there is one."""
        if self._store is not None:
            self._store.put(item)
        else:
            self._hand_over([item])

    async def ask(self, build: Callable[[int], Frame]) -> Answer | Error:
        """Send a numbered request, in this session or a later one, and await its answer."""
        core = self.running()
        future: asyncio.Future[Answer | Error] = asyncio.get_running_loop().create_future()

        def settle(answer: Answer | Error) -> None:
            if not future.done():
                future.set_result(answer)

        request = core.requests.ask(build, settle, lasts=True)
        self._pending[future] = None
        self.flush_soon()
        try:
            return await future
        finally:
            self._pending.pop(future, None)
            core.requests.give_up(request)

    def apis(self) -> Sequence[str]:
        """The bases of the REST API, the best first."""
        route = self.core.route if self.core is not None else None
        known = route.apis() if route is not None and route.asks else []
        return known or [address.api for address in self._options.addresses]

    async def token(self, fresh: bool) -> str:
        """The access token, from the application when it is a source and a fresh one is needed."""
        source = self._options.token
        if isinstance(source, str):
            return source
        if fresh or not self._token or renew_in_s(self._token, self.runtime.clock.now_ms()) == 0.0:
            async with asyncio.timeout(TOKEN_TIMEOUT_S):
                given = source()
                self._token = await given if isawaitable(given) else given
        return self._token

    # Host

    def settle(self, item: Item, outcome: Sent | SendRefused) -> None:
        """A send has come to its end."""
        if self._store is not None:
            self._store.settle(item.send.client_id)
            self._write_soon()
        if item.handle is not None:
            item.handle.settle(outcome)
        self._look_if_drained()

    def note(self, log: str, seq: int | None) -> None:
        """A log's delivery begins after `seq`, or the log is forgotten."""
        if self._store is not None:
            if seq is None:
                self._store.note(log, None)
            else:
                self._store.begin(log, seq)
            self._write_soon()

    def forget_positions(self) -> None:
        """The server's logs went back in time."""
        if self._store is not None:
            self._store.forget_positions()
            self._write_soon()

    def remember(self, saved: Saved) -> None:
        """The session's facts changed."""
        if self._store is not None:
            self._store.remember(saved)
            self._write_soon()

    # Receiver

    def received(self, message: bytes) -> None:
        """A message came. Nearly always an entry that is next in order, which leaves nothing to do."""
        core = self.core
        assert core is not None
        core.received(message)
        if core.orders:
            self.flush()
        elif core.dirty:
            self.flush_soon()  # after all that came in the same read: what follows from it goes out in one write

    def lost(self, socket: Transport, code: int, reason: str) -> None:
        """The socket is gone."""
        if socket is self._socket and self.core is not None:
            self._socket = None
            self.core.lost(code, reason)
            self.flush()

    # Carrying out

    def flush(self) -> None:
        """Write what the core has to say, do what it orders, set the alarm."""
        core = self.core
        self._flush_soon = False
        if core is None or self._closed:
            return
        while core.dirty or core.orders:
            messages = core.flush()
            if messages and self._socket is not None:
                self._socket.send(messages)
            orders, core.orders = core.orders, []
            for order in orders:
                self._carry_out(order, core)
        if core.sync.synced:
            self._synced.set()
        if core.due < self._alarm_at:
            self._alarm_at = max(core.due, self.runtime.clock.monotonic())
            self.runtime.alarms.set(self._alarm_at, self._ring)

    def flush_soon(self) -> None:
        """Flush once, after what the application does now: many sends go out together."""
        if not self._flush_soon:
            self._flush_soon = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _carry_out(self, order: Order, core: Core) -> None:
        match order:
            case Order.CONNECT:
                self.runtime.tasks.spawn("client connects", self._connect(core))
            case Order.DIAL:
                for url in core.dials():
                    self.runtime.tasks.spawn("client dials", self._dial(core, url))
            case Order.HANG_UP:
                self._hang_up()
            case Order.LOOK:
                self.runtime.tasks.spawn("client asks for endpoints", self._look(core))
            case Order.RENEW:
                self.runtime.tasks.spawn("client renews its token", self._renew(core))
            case Order.DROP:
                socket, self._socket = self._socket, None
                if socket is not None:
                    socket.abort()
            case Order.REJECT:
                socket, self._socket = self._socket, None
                if socket is not None:
                    socket.reject()
            case Order.CLOSE:
                self._finish(core)

    def _ring(self, at: float) -> None:
        if at == self._alarm_at and self.core is not None and not self._closed:
            self._alarm_at = inf
            self.core.tick()
            self.flush()

    async def _connect(self, core: Core) -> None:
        """Prepare an attempt. Only the first waits to be told of endpoints: all who lost a node would ask at once."""
        try:
            token = await self._try_token(core.fresh_token)
        except ConnectFailed as error:
            if core.connection.state is State.CONNECTING:
                core.failed(Ending(reason=str(error)))
                self.flush()
            return
        if core.route.asks and not core.route.listed:
            try:
                async with asyncio.timeout(LOOK_S_MAX):
                    await self._look(core)
            except TimeoutError:
                core.look()
        core.set_out(token)
        self.flush()

    async def _look(self, core: Core) -> None:
        """Ask which endpoints there are."""
        route = core.route
        key = self._options.addresses[0].api
        core.learn(await self.runtime.endpoints(route.apis(), key=key, newer_than=route.doubted_at))
        self.flush()

    async def _dial(self, core: Core, url: str) -> None:
        """Connect to one endpoint of a race."""
        attempt = self._dials[url] = start(self.runtime.connect(url, self, self.runtime.tls))
        try:
            await asyncio.wait([attempt])
        finally:
            attempt.cancel()
        if self._dials.get(url) is attempt:
            del self._dials[url]
        if not attempt.cancelled():
            self._take_dialled(core, url, attempt)

    def _take_dialled(self, core: Core, url: str, attempt: "asyncio.Task[Transport]") -> None:
        """An attempt has come to its end."""
        try:
            socket = attempt.result()
            if socket.gone:
                raise ConnectFailed(f"{url} hung up at once")
        except ConnectFailed as error:
            ending = Ending(reason=str(error), retry_in_ms=error.retry_after_ms)
            core.dial_failed(url, ending, status=error.status if error.final else 0)
        else:
            if core.dialled(url):
                self._socket = socket
                core.opened()
            else:
                socket.abort()
        self.flush()

    def _hang_up(self) -> None:
        """Give up the attempts that are under way."""
        dials, self._dials = self._dials, {}
        for attempt in dials.values():
            attempt.cancel()

    async def _try_token(self, fresh: bool) -> str:
        """The token, or `ConnectFailed`: whatever the application's source raises must not end the client."""
        (token,) = await asyncio.gather(self.token(fresh), return_exceptions=True)
        if isinstance(token, str):
            return token
        raise ConnectFailed(f"the application's token source failed: {token!r}")

    async def _renew(self, core: Core) -> None:
        try:
            token = await self._try_token(True)
        except ConnectFailed:
            core.renewal_failed()
        else:
            core.renewed(token)
        self.flush()

    def _finish(self, core: Core) -> None:
        """Nothing more will happen: tell everybody who waits."""
        self._closed = True
        self._hang_up()
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
        error: ClientError = core.error or ClientClosed(
            "the client was closed; a store, if there is one, keeps the message"
        )
        for item in core.outbox.unsettled():
            if item.handle is not None:
                item.handle.settle(error)
        waiting: list[asyncio.Future[Any]] = [*self._drained, *self._pending]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._synced.set()
        self.stream.close(core.error)

    # Store

    def _stored(self, items: list[Item], error: StoreFailed | None) -> None:
        if error is None:
            self._hand_over(items)
            return
        for item in items:
            if self.core is not None:
                self.core.outbox.release()
            item.handle.mark_stored(error)
            item.handle.settle(error)
        self._look_if_drained()

    def _hand_over(self, items: list[Item]) -> None:
        """Durable here, as far as it must be: on to the server."""
        if self.core is None:
            return
        for item in items:
            item.handle.mark_stored(None)
            if self._closed:
                item.handle.settle(ClientClosed("the client was closed; the store keeps the message"))
            else:
                self.core.post(item)
        self.flush_soon()

    def _look_if_drained(self) -> None:
        if self._drained and self.core is not None and self.core.outbox.reserved == 0:
            for future in self._drained:
                if not future.done():
                    future.set_result(None)
            self._drained.clear()

    def _write_soon(self) -> None:
        if not self._lazy:
            self._lazy = True
            self.runtime.alarms.set(self.runtime.clock.monotonic() + LAZY_S, self._write)

    def _write(self, at: float) -> None:
        self._lazy = False
        if self._store is not None:
            self._store.write()

    # Stream

    def _make_room(self) -> None:
        if self.core is not None and not self._closed:
            self.core.make_room()
            self.flush_soon()

    def _taken(self, event: Event) -> None:
        """The application has had an event: after a restart it goes on behind it."""
        if self._store is None or self.core is None:
            return
        store, account = self._store, account_id(self.core.user)
        if isinstance(event, EntryReceived):
            store.note(event.entry.conv, event.entry.seq)
        elif isinstance(event, ConversationJoined):
            store.note(account, event.seq)
            store.begin(event.conv, max(0, event.joined_seq - 1))
        elif isinstance(event, ConversationLeft):
            store.note(account, event.seq)
            if self.core.sync.timelines.applied(event.conv) in (None, event.left_seq):
                store.note(event.conv, None)
        self._write_soon()
