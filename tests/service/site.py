"""The whole service as its users see it: a node on a real port, REST through aiohttp, WebSocket through websockets.

No code of the SDK takes part, so that what is tested is the server's word alone.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import aiohttp
from msgspec.structs import replace
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol
from yarl import URL

from posthouse.app.config import App, Config, Key
from posthouse.app.config.values import Api, Data, Database, Limits, Listen
from posthouse.app.node import Node
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, api_key_hash
from posthouse.auth.tokens import TokenIssuer
from posthouse.kit.clock import SystemClock
from posthouse.kit.tasks import start
from posthouse.protocol import SUBPROTOCOL
from posthouse.testing.servers import LocalServer

PATIENCE_S = 20
APP = "acme"
SECRET = "a secret of acme, long enough to be one"
API_KEY = "ph_the-api-key-of-acme"

UNHURRIED = Limits(sends_per_user_per_s=1e6, sends_per_user_burst=1e6, logins_per_user_burst=1e6)
OPEN_API = Api(requests_per_user_burst=1e6)
"""Limits for tests that are not about limits."""

Frame = dict[str, Any]
_names = itertools.count(1)


class Reply(NamedTuple):
    """What an HTTP request came back with."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The name of the refusal's code."""
        return str(self.body["name"])


class Line:
    """One connection of one device. It reads all the time, unless `pause` says otherwise, and keeps what it heard."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Frame] = []
        self._changed = asyncio.Event()
        self._refs = itertools.count(1)
        self._reading = start(self._read())

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for message in self.socket:
                self.heard.append(json.loads(message))
                self._changed.set()
        self._changed.set()

    async def close(self) -> None:
        self._reading.cancel()
        await self.socket.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    # What it says

    async def say(self, **frame: object) -> None:
        with suppress(ConnectionClosed):
            await self.socket.send(json.dumps(frame))

    async def ask(self, **frame: object) -> Frame:
        """Make a request and hear its answer."""
        ref = next(self._refs)
        await self.say(ref=ref, **frame)
        return await self.first(lambda heard: heard.get("ref") == ref)

    async def post(self, conv: str, client_id: str, **more: object) -> None:
        """Send, and do not wait for the answer."""
        made_at = SystemClock().now_ms()
        frame = {
            "t": "send",
            "conv": conv,
            "client_id": client_id,
            "made_at": made_at,
            "body": {"text": client_id},
        }
        await self.say(**(frame | more))

    async def send(self, conv: str, client_id: str = "", **more: object) -> Frame:
        """Send, and hear the answer: an ack, or an error."""
        client_id = client_id or f"k{next(_names)}"
        before = len(self.answers(client_id))
        await self.post(conv, client_id, **more)
        await self.until(lambda: len(self.answers(client_id)) > before)
        return self.answers(client_id)[before]

    async def hello(self, token: str, device: str = "phone", **fields: object) -> Frame:
        """Say hello; returns the welcome, or the goaway."""
        await self.say(t="hello", token=token, device=device, **fields)
        return await self.first(lambda heard: heard["t"] in ("welcome", "goaway"))

    # What it hears

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something was heard. Fails when the connection ends before, or it takes too long."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert not self._reading.done(), f"the connection ended with {self.ended}: {self.heard[-3:]}"
                self._changed.clear()
                await self._changed.wait()

    async def first(self, wanted: Callable[[Frame], object]) -> Frame:
        """The first frame of a kind, from the beginning on."""
        await self.until(lambda: any(map(wanted, self.heard)) or self._reading.done())
        return next(filter(wanted, self.heard))

    async def end(self) -> int:
        """Wait for the end; returns the code of the close."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(self._reading, return_exceptions=True)
        return self.ended

    @property
    def ended(self) -> int:
        return self.socket.close_code or 0

    @property
    def welcome(self) -> Frame:
        (welcome,) = self.all("welcome")
        return welcome

    def all(self, kind: str) -> list[Frame]:
        return [frame for frame in self.heard if frame["t"] == kind]

    def answers(self, client_id: str) -> list[Frame]:
        return [f for f in self.heard if f["t"] in ("ack", "error") and f.get("client_id") == client_id]

    def entries(self, conv: str) -> list[Frame]:
        pushed = [frame["entry"] for frame in self.all("entry")]
        return [entry for entry in pushed if entry["conv"] == conv]

    def seqs(self, conv: str) -> list[int]:
        return [entry["seq"] for entry in self.entries(conv)]

    async def caught_up(self, conv: str, seq: int) -> list[int]:
        """Wait for an entry; returns the numbers of all that came of its log."""
        await self.until(lambda: seq in self.seqs(conv))
        return self.seqs(conv)

    async def quiet(self) -> None:
        """Everything that the server had said to this connection until now has been heard."""
        before = len(self.all("pong"))
        await self.say(t="ping")
        await self.until(lambda: len(self.all("pong")) > before)


class Site:
    """A running server, wherever it runs."""

    def __init__(
        self, url: str, api_key: str, issuer: TokenIssuer, app: str, node: Node | None = None
    ) -> None:
        self.url = url
        self.app = app
        self._node = node
        self._api_key = api_key
        self._issuer = issuer
        self._lines: list[Line] = []
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()
        assert self._http is not None
        await self._http.close()

    @property
    def node(self) -> Node:
        """The node, where it runs in this process."""
        assert self._node is not None
        return self._node

    async def hang_up(self) -> None:
        """Close all lines."""
        lines, self._lines = self._lines, []
        await asyncio.gather(*(line.close() for line in lines))

    # REST

    def token(self, user: str, device: str = "", ttl_s: int = 3_600) -> str:
        now_s = SystemClock().now_ms() // 1000
        return self._issuer.issue(self.app, user, now_s=now_s, ttl_s=ttl_s, device=device)

    async def rest(
        self, method: str, path: str, body: object = None, *, user: str = "", key: str = ""
    ) -> Reply:
        """A request of a user, or of the app's back end."""
        headers = {"Authorization": f"Bearer {self.token(user)}"} if user else {"X-Api-Key": self._api_key}
        if key:
            headers["Idempotency-Key"] = key
        assert self._http is not None
        url = URL(f"{self.url}{path}", encoded=True)
        async with self._http.request(method, url, json=body, headers=headers) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Reply(response.status, json.loads(text) if is_json else text, response.headers)

    async def group(self, *members: str, kind: str = "group", conv: str = "", **more: object) -> str:
        """A new conversation that each of its members has in their list; returns its id."""
        conv = conv if conv or kind == "direct" else f"c{next(_names)}"
        reply = await self.rest(
            "POST", "/v1/conversations", {"kind": kind, "conv": conv, "members": members} | more
        )
        assert reply.status == 200, reply
        made = str(reply.body["conv"])
        for member in members[:50]:
            await self.listed(member, made)
        return made

    async def listed(self, user: str, conv: str) -> Frame:
        """The conversation in a user's list, once it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                items = (await self.rest("GET", f"/v1/conversations?user={part(user)}")).body["items"]
                for item in items:
                    if item["conv"] == conv:
                        return dict(item)
                await asyncio.sleep(0.01)

    async def add(self, conv: str, *users: str, **more: object) -> int:
        """Add members; returns the seq of the entry that says so."""
        reply = await self.rest("POST", f"/v1/conversations/{part(conv)}/members", {"users": users} | more)
        assert reply.status == 200, reply
        return int(reply.body["seq"])

    async def remove(self, conv: str, user: str) -> int:
        reply = await self.rest("DELETE", f"/v1/conversations/{part(conv)}/members/{part(user)}")
        assert reply.status == 200, reply
        return int(reply.body["seq"])

    async def metric(self, name: str, **labels: str) -> float:
        """The value of a metric as /metrics shows it; 0 where it is not there."""
        text = (await self.rest("GET", "/metrics")).body
        for line in text.splitlines():
            if line.startswith(name) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def coded(self, code: int) -> float:
        """How often a code was given, as /metrics shows it."""
        return await self.metric("posthouse_codes_total", code=str(code))

    # WebSocket

    async def call(self, **options: Any) -> Line:
        """A connection that has not said anything yet."""
        url = f"{self.url.replace('http', 'ws', 1)}/v1/ws"
        settings = {"compression": None, "ping_interval": None, "max_size": None, "open_timeout": PATIENCE_S}
        socket = await connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], **(settings | options))
        line = Line(socket)
        self._lines.append(line)
        return line

    async def enter(self, user: str, device: str = "phone", **fields: object) -> Line:
        """A live session."""
        line = await self.call()
        answer = await line.hello(self.token(user), device, **fields)
        assert answer["t"] == "welcome", answer
        return line

    async def back(self, line: Line, user: str, positions: Mapping[str, int], device: str = "phone") -> Line:
        """The device of a lost line resumes, having applied so much of each log; ended if the server says so."""
        resume = {
            "token": line.welcome["resume_token"],
            "epoch": line.welcome["epoch"],
            "positions": positions,
        }
        again = await self.call()
        await again.hello(self.token(user), device, resume=resume)
        return again


@asynccontextmanager
async def serving(
    folder: Path,
    database: str = "sqlite",
    limits: Limits = UNHURRIED,
    api: Api = OPEN_API,
    databases: Mapping[str, str] | None = None,
    **rooms: object,
) -> AsyncIterator[Site]:
    """A node in this process, on one database or on several by name; `rooms` stand in place of its configuration's."""
    key = Key(kid="k1", alg="HS256", secret=SECRET)
    config = Config(
        listen=Listen(port=0),
        data=Data(folder=str(folder)),
        database=Database(url=database),
        databases={name: Database(url=url) for name, url in (databases or {}).items()},
        limits=limits,
        api=api,
        apps={APP: App(keys=(key,), api_key_hashes=(api_key_hash(API_KEY),))},
    )
    node = Node(replace(config, **rooms))
    await node.start()
    try:
        async with Site(
            f"http://127.0.0.1:{node.port}", API_KEY, _issuer(APP, "k1", SECRET), APP, node
        ) as site:
            yield site
    finally:
        await node.stop()


def site_of(server: LocalServer) -> Site:
    """A server in a process of its own, from its first start on."""
    secrets = server.secrets
    return Site(server.url, secrets.api_key, _issuer("default", secrets.kid, secrets.secret), "default")


def part(value: str) -> str:
    """An id as one part of a path."""
    return quote(value, safe="")


def _issuer(app: str, kid: str, secret: str) -> TokenIssuer:
    signing = SigningKey(kid=kid, algorithm=Algorithm.HS256, secret=secret)
    return TokenIssuer({app: AppKeys(signing=(signing,))})
