"""`Client` and `ConversationHandle`: what an application holds. All methods belong to one event loop."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

import msgspec

from posthouse import __version__
from posthouse.client.connection import Pace
from posthouse.client.endpoints import parse_addresses
from posthouse.client.errors import InvalidArgument, NotConnected, RequestFailed, RequestRefused
from posthouse.client.events import Event, MessageReceived
from posthouse.client.host import Sent, Settings
from posthouse.client.outbox import item_of
from posthouse.client.posted import Posted
from posthouse.client.rest import Profile, Rest
from posthouse.client.runtime import Runtime
from posthouse.client.shell import Options, Shell, TokenSource
from posthouse.client.stream import Handler
from posthouse.kit.tls import NoAuthority, trusting
from posthouse.model.content import MENTIONS_MAX, TEXT_KEY, check_body
from posthouse.model.conversation import Conversation, History, Kind, Member, Role
from posthouse.model.entry import CUSTOM_PREFIX, MESSAGE, Entry
from posthouse.model.errors import ModelError
from posthouse.model.ids import check_id
from posthouse.protocol.frames import (
    FETCH_LIMIT_MAX,
    LIST_LIMIT_MAX,
    Conversations,
    Entries,
    Error,
    Fetch,
    List,
    Summary,
)

Content = str | Mapping[str, Any]
"""A text, or a whole body: one JSON object."""
H = TypeVar("H", bound=Handler)
A = TypeVar("A")
E = TypeVar("E", bound=StrEnum)


class Statistics(NamedTuple):
    """Counts since the client was started."""

    state: str
    connection_attempts: int
    unacknowledged: int
    retries: int
    duplicates_dropped: int
    gaps: int
    overflows: int
    logs_behind: int
    events_waiting: int
    notices_dropped: int
    unknown_frames: int


class Client:
    """One user's device, connected to Posthouse for as long as it is open.

    It reconnects by itself, sends what was not acknowledged again, and delivers every entry of the user's
    conversations once and in order. Use it as `async with Client(address, token=...) as client`.

    address: `http(s)://host:port` of any node or balancer, or several of them, in case one is away at the start;
        `ws(s)://…` names one endpoint and asks for no others.
    token: the user's access token, or a function (also async) that gives a fresh one whenever one is needed.
    user: checked against the token's, if given. device: a stable id of this installation; made up (and kept in the
        store) if not given. Two clients of one user need two devices.
    store: a file that keeps unacknowledged messages and positions over restarts. One running client a file.
    catch_up: on the very first start, `live` delivers what comes from now on, `all` everything since the user joined.
    heartbeat_s, background_heartbeat_s: how often life is shown, and so how soon a dead connection is noticed.
    reconnect_jitter_s: after a lost connection to the only endpoint, attempts are spread over so long.
    outbox_messages_max: overflow: `send` and `post` raise `OutboxFull`.
    events_max: events kept for `events()`. Overflow: entries stay on the server until there is room again.
    receipts: tell senders in small conversations that this device has received their messages.
    runtime: share one among the clients of a process.
    tls: for `https` with a private authority: the file of its certificate in PEM, or a context of your own.
    """

    def __init__(
        self,
        address: str | Sequence[str],
        *,
        token: TokenSource,
        user: str | None = None,
        device: str | None = None,
        store: str | Path | None = None,
        catch_up: Literal["live", "all"] = "live",
        heartbeat_s: int = 5,
        background_heartbeat_s: int = 30,
        reconnect_jitter_s: float = 5.0,
        connect_timeout_s: float = 15.0,
        outbox_messages_max: int = 1_000,
        events_max: int = 1_000,
        receipts: bool = True,
        runtime: Runtime | None = None,
        tls: ssl.SSLContext | str | Path | None = None,
    ) -> None:
        where = parse_addresses(address)
        for value, what in ((user, "user"), (device, "device")):
            if value:
                _checked_id(value, what)
        settings = Settings(
            pace=Pace(heartbeat_s=heartbeat_s, reconnect_jitter_s=reconnect_jitter_s),
            background_heartbeat_s=background_heartbeat_s,
            outbox_messages_max=outbox_messages_max,
            receipts=receipts,
            catch_up_all=catch_up == "all",
            token_is_fixed=isinstance(token, str),
            sdk=f"posthouse-python/{__version__}",
        )
        trusted = _trusted(tls)
        path = str(store) if store is not None else ""
        self._own_runtime = Runtime(tls=trusted) if runtime is None else None
        self._runtime = runtime or self._own_runtime or Runtime()
        self._shell = Shell(
            Options(where, token, settings, user or "", device or "", path, events_max), self._runtime
        )
        self._rest = Rest(self._shell.apis, self._runtime, self._shell.token)
        self._connect_timeout_s = connect_timeout_s

    def __repr__(self) -> str:
        core = self._shell.core
        return f"<Client {self.user!r} {core.connection.state.value if core is not None else 'not started'}>"

    # Life

    async def __aenter__(self) -> Self:
        await self.start()
        try:
            await self.wait_connected()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._shell.stream.mark_taken()
        await self.close()

    async def start(self) -> None:
        """Begin to connect, without waiting: for applications that must work offline. Raises `StoreFailed`."""
        await self._shell.start()

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Return when the first session stands and it is known what was missed.

        Raises `NotConnected` after `timeout_s` (the option `connect_timeout_s` by default), `Stopped` or
        `TokenRefused` when the server does not want this client.
        """
        await self._shell.wait_synced(self._connect_timeout_s if timeout_s is None else timeout_s)

    async def close(self) -> None:
        """Leave. Messages not acknowledged stay in the store, if there is one; otherwise they are given up."""
        await self._shell.close()
        if self._own_runtime is not None:
            await self._own_runtime.close()

    async def flush(self) -> None:
        """Return when every message posted so far is acknowledged or refused."""
        await self._shell.wait_drained()

    def foreground(self) -> None:
        """The user is looking: notice a dead connection within seconds. Reconnects at once."""
        self._shell.running().go_background(False)
        self._shell.flush_soon()

    def background(self) -> None:
        """The user is not looking: beat less often. Reconnects at once, so that the server knows."""
        self._shell.running().go_background(True)
        self._shell.flush_soon()

    @property
    def user(self) -> str:
        """The user, as the server said; empty before the first session, unless given."""
        return self._shell.user

    @property
    def device(self) -> str:
        """The id of this installation."""
        return self._shell.core.device if self._shell.core is not None else ""

    @property
    def connected(self) -> bool:
        """True while a session stands."""
        return self.statistics().state == "live"

    def statistics(self) -> Statistics:
        """Counts for tests and operators. Raises nothing."""
        core, stream = self._shell.core, self._shell.stream
        if core is None:
            return Statistics("new", 0, 0, 0, 0, 0, 0, 0, len(stream), stream.notices_dropped, 0)
        timelines = core.sync.timelines
        return Statistics(
            state=core.connection.state.value,
            connection_attempts=core.attempts_total,
            unacknowledged=core.outbox.reserved,
            retries=core.outbox.retries,
            duplicates_dropped=timelines.duplicates,
            gaps=timelines.gaps,
            overflows=timelines.overflows,
            logs_behind=timelines.behind,
            events_waiting=len(stream),
            notices_dropped=stream.notices_dropped,
            unknown_frames=core.unknown_frames,
        )

    # Messages

    async def send(
        self,
        conv: str,
        content: Content,
        *,
        reply_to: int = 0,
        mentions: Sequence[str] = (),
        kind: str = MESSAGE,
    ) -> Sent:
        """Send a message and await the server's word that it is in the log, durably.

        Waits as long as it takes, over lost connections too; giving up waiting does not withdraw the message.
        Raises `SendRefused`, `OutboxFull`, `InvalidArgument`, `StoreFailed` or `ClientClosed`.
        """
        return await self.post(conv, content, reply_to=reply_to, mentions=mentions, kind=kind).acked

    def post(
        self,
        conv: str,
        content: Content,
        *,
        reply_to: int = 0,
        mentions: Sequence[str] = (),
        kind: str = MESSAGE,
    ) -> Posted:
        """As `send`, but return at once: await `.acked` (and with a store `.stored`) of the result, or do not.

        Messages posted to one conversation arrive in this order. A refusal is also told by the event `SendFailed`.
        """
        core = self._shell.running()
        if kind != MESSAGE and not kind.startswith(CUSTOM_PREFIX):
            raise InvalidArgument(
                f"clients send {MESSAGE!r}, or kinds of their own that begin with {CUSTOM_PREFIX!r}"
            )
        if len(mentions) > MENTIONS_MAX:
            raise InvalidArgument(f"{len(mentions)} users are mentioned; at most {MENTIONS_MAX} are allowed")
        body = _body(content)
        _checked_id(conv, "conversation")
        core.outbox.reserve()
        client_id = self._shell.next_client_id()
        made_at_ms = self._runtime.clock.now_ms() + core.clock_offset_ms
        item = item_of(conv, client_id, made_at_ms, body, kind, reply_to, tuple(mentions))
        posted = item.handle = Posted(conv, client_id)
        self._shell.post(item)
        return posted

    # Events

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order, until the client is closed: `async for event in client.events()`.

        Events since the client was started are kept for the first reader, up to `events_max`. Leaving the loop and
        beginning another goes on where the first stopped. With a store, an event counts as taken when the next one
        is asked for, or the `async with` block ends well. Raises what ended the client, if it was not `close`.
        """
        return self._shell.stream.events()

    def on(self, kind: type[Event]) -> Callable[[H], H]:
        """Decorator: call a function with each event of this kind, as `@client.on(MessageReceived)`.

        Plain functions are called by the event loop, right away and in order; keep them short. Coroutine functions
        are awaited one event after the other; they take the place of `events()`.
        """

        def register(handler: H) -> H:
            stream = self._shell.stream
            pumped = stream.pumps
            stream.subscribe(kind, handler)
            if stream.pumps and not pumped and self._shell.core is not None:
                self._shell.run_pump()
            return handler

        return register

    # Conversations

    def conversation(self, conv: str) -> "ConversationHandle":
        """A handle on a conversation, whether it exists or not: nothing is asked."""
        return ConversationHandle(self, _checked_id(conv, "conversation"))

    async def direct(self, user: str) -> "ConversationHandle":
        """The direct conversation with another user, begun if need be. Raises `RequestRefused`, `RequestFailed`."""
        return self.conversation(await self._rest.create(Kind.DIRECT, [_checked_id(user, "user")]))

    async def create_group(
        self,
        title: str = "",
        members: Sequence[str] = (),
        *,
        conv: str = "",
        history: History | str | None = None,
    ) -> "ConversationHandle":
        """Begin a group, with this user as its owner. `conv`: an id of your own choice; repeating it finds the same.

        `history`: whether newcomers see what was before them. Raises `RequestRefused`, `RequestFailed` or
        `InvalidArgument`.
        """
        return await self._create(Kind.GROUP, members, conv, title, history)

    async def create_channel(
        self,
        title: str = "",
        members: Sequence[str] = (),
        *,
        conv: str = "",
        history: History | str | None = None,
    ) -> "ConversationHandle":
        """Begin a channel: its members read, owners and admins write. As `create_group` otherwise."""
        return await self._create(Kind.CHANNEL, members, conv, title, history)

    async def _create(
        self, kind: Kind, members: Sequence[str], conv: str, title: str, history: History | str | None
    ) -> "ConversationHandle":
        seen = _one_of(History, history, "history") if history is not None else None
        return self.conversation(await self._rest.create(kind, members, conv=conv, title=title, history=seen))

    # Users

    async def profile(self, user: str) -> Profile:
        """A user's name and avatar. Raises `RequestFailed`, or `RequestRefused` (`not_found`: nobody has said any)."""
        return await self._rest.profile(_checked_id(user, "user"))

    async def set_profile(self, *, name: str | None = None, avatar: str | None = None) -> Profile:
        """Change this user's own name or avatar; None leaves it as it is. Returns what holds now.

        Raises `RequestRefused`, also where the app keeps that to its back end, `RequestFailed` or `NotConnected`.
        """
        facts = {"name": name, "avatar": avatar}
        said = {key: value for key, value in facts.items() if value is not None}
        return await self._rest.set_profile(self._own_user(), said)

    # Reading

    async def conversations(self) -> AsyncIterator[Summary]:
        """The user's conversations, newest activity first, as the server has them now: last entry, unread, mentions.

        Waits for a connection. Raises `RequestRefused` or `ClientClosed`.
        """
        page = ""
        while True:
            answer = await self._ask(Conversations, List(ref=0, page=page, limit=LIST_LIMIT_MAX))
            for summary in answer.items:
                self._shell.running().sync.views.learn(summary)
                yield summary
            page = answer.next_page
            if not page:
                return

    async def history(
        self, conv: str, *, before: int | None = None, after: int | None = None, limit: int | None = None
    ) -> AsyncIterator[Entry]:
        """Entries of a conversation, fetched page by page as they are read.

        Without arguments or with `before`: falling from there, newest first. With `after`: rising from there. At
        most `limit`. Waits for a connection. Raises `RequestRefused`, `InvalidArgument` or `ClientClosed`.
        """
        if before is not None and after is not None:
            raise InvalidArgument("give `before` to go back or `after` to go forward, not both")
        left = limit if limit is not None else -1
        while left != 0:
            size = FETCH_LIMIT_MAX if left < 0 else min(FETCH_LIMIT_MAX, left)
            fetch = Fetch(ref=0, conv=conv, before=before, after=after, limit=size)
            page = await self._ask(Entries, fetch)
            for entry in page.entries:
                yield entry
            left = left - len(page.entries) if left > 0 else left
            if page.complete or not page.entries:
                return
            last = page.entries[-1].seq
            before, after = (before, last) if after is not None else (last, None)

    def mark_read(self, conv: str, seq: int | None = None) -> None:
        """The user has read up to `seq`, or all that was delivered. The server is told within a second."""
        core = self._shell.running()
        position = core.sync.timelines.applied(conv) if seq is None else seq
        if position:
            core.read(conv, position)
            self._shell.flush_soon()

    def unread(self, conv: str) -> int:
        """Messages that the user has not read, as far as this client knows. The server: `conversations()`."""
        return self._shell.running().sync.views.unread(conv)

    @property
    def api(self) -> Rest:
        """The REST API as this user; its `request` is for what has no method of its own."""
        return self._rest

    def _own_user(self) -> str:
        if not self.user:
            raise NotConnected(
                "who this user is the server says in the first session: wait_connected(), or give `user`"
            )
        return self.user

    async def _ask(self, kind: type[A], frame: List | Fetch) -> A:
        answer = await self._shell.ask(lambda ref: msgspec.structs.replace(frame, ref=ref))
        if isinstance(answer, Error):
            raise RequestRefused(answer.code, answer.reason)
        if not isinstance(answer, kind):
            raise RequestFailed(f"the server answered with {type(answer).__name__}")
        return answer


class ConversationHandle:
    """One conversation, for an application that works with it; light, and made at will."""

    __slots__ = ("_client", "conv")

    def __init__(self, client: Client, conv: str) -> None:
        self._client = client
        self.conv = conv

    def __repr__(self) -> str:
        return f"<ConversationHandle {self.conv!r}>"

    async def send(
        self, content: Content, *, reply_to: int = 0, mentions: Sequence[str] = (), kind: str = MESSAGE
    ) -> Sent:
        """As `Client.send`."""
        return await self._client.send(self.conv, content, reply_to=reply_to, mentions=mentions, kind=kind)

    def post(
        self, content: Content, *, reply_to: int = 0, mentions: Sequence[str] = (), kind: str = MESSAGE
    ) -> Posted:
        """As `Client.post`."""
        return self._client.post(self.conv, content, reply_to=reply_to, mentions=mentions, kind=kind)

    def history(
        self, *, before: int | None = None, after: int | None = None, limit: int | None = None
    ) -> AsyncIterator[Entry]:
        """As `Client.history`."""
        return self._client.history(self.conv, before=before, after=after, limit=limit)

    async def messages(self) -> AsyncIterator[MessageReceived]:
        """The messages of this conversation as they come. Reads `Client.events()` and passes over everything else."""
        async for event in self._client.events():
            if isinstance(event, MessageReceived) and event.conv == self.conv:
                yield event

    def mark_read(self, seq: int | None = None) -> None:
        """As `Client.mark_read`."""
        self._client.mark_read(self.conv, seq)

    @property
    def unread(self) -> int:
        """As `Client.unread`."""
        return self._client.unread(self.conv)

    async def info(self) -> Conversation:
        """The conversation's facts: title, kind, size. Raises `RequestRefused`, `RequestFailed`."""
        return await self._client.api.conversation(self.conv)

    async def members(self) -> AsyncIterator[Member]:
        """Its members, by user. Raises `RequestRefused`, `RequestFailed`."""
        after = ""
        while True:
            page = await self._client.api.members(self.conv, after)
            for member in page.members:
                yield member
            after = page.next_after
            if not after:
                return

    async def invite(self, *users: str, role: Role | str | None = None) -> None:
        """Add users, as readers of a channel or members of a group unless `role` says otherwise.

        Those who are members already stay as they are. Raises `RequestRefused`, `RequestFailed` or `InvalidArgument`.
        """
        given = _one_of(Role, role, "role") if role is not None else None
        await self._client.api.invite(self.conv, users, given)

    async def set_role(self, user: str, role: Role | str) -> None:
        """Give a member another role. Admins may up to `member`, owners everything.

        Raises `RequestRefused`, `RequestFailed` or `InvalidArgument`.
        """
        await self._client.api.set_role(self.conv, user, _one_of(Role, role, "role"))

    async def remove(self, user: str) -> None:
        """End a user's membership. Raises `RequestRefused`, `RequestFailed`."""
        await self._client.api.remove(self.conv, user)

    async def leave(self) -> None:
        """End this user's own membership. Raises `RequestRefused`, `RequestFailed` or `NotConnected`."""
        await self.remove(self._client._own_user())

    async def describe(self, *, title: str | None = None, properties: dict[str, Any] | None = None) -> None:
        """Change the title or the properties. Raises `RequestRefused`, `RequestFailed`."""
        facts: dict[str, Any] = {"title": title, "properties": properties}
        await self._client.api.describe(
            self.conv, {name: value for name, value in facts.items() if value is not None}
        )


def _checked_id(value: str, what: str) -> str:
    try:
        return check_id(value, what)
    except ModelError as error:
        raise InvalidArgument(str(error)) from None


def _one_of(kind: type[E], value: E | str, what: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise InvalidArgument(f"{value!r} is no {what}: use one of {', '.join(kind)}") from None


def _trusted(tls: ssl.SSLContext | str | Path | None) -> ssl.SSLContext | None:
    if tls is None or isinstance(tls, ssl.SSLContext):
        return tls
    try:
        return trusting(tls)
    except NoAuthority as error:
        raise InvalidArgument(str(error)) from None


def _body(content: Content) -> bytes:
    try:
        body = msgspec.json.encode({TEXT_KEY: content} if isinstance(content, str) else content)
        check_body(body)
    except (ModelError, TypeError, UnicodeEncodeError, ValueError) as error:
        raise InvalidArgument(f"this cannot be sent: {error}") from None
    return body
