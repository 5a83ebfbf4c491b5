"""Two apps on one node, a secret in the one, and everybody who should not get at it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol
from yarl import URL

from posthouse.app.node import Node
from posthouse.kit.clock import SystemClock
from posthouse.model.ids import direct_id
from posthouse.protocol import SUBPROTOCOL
from tests.security.serving import ACME, API_KEYS, PATIENCE_S, UMBRELLA, token

SECRET = "SECRET"
"""Is part of everything that strangers must not see."""
TEAM, DIRECT, ACCOUNT = "team", direct_id("ann", "ben"), "~ann"
Frame = dict[str, Any]
Headers = Mapping[str, str]


def back_end(app: str) -> Headers:
    return {"X-Api-Key": API_KEYS[app]}


def user(name: str, app: str = ACME) -> Headers:
    return {"Authorization": f"Bearer {token(name, app)}"}


class Reply(NamedTuple):
    """What a request came back with."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def name(self) -> str:
        """Of the refusal's code; "ok" where there was none."""
        return "ok" if self.status == 200 else str(self.body["name"])


class Town:
    """A running node, and ways to ask it."""

    def __init__(self, port: int, http: aiohttp.ClientSession, node: Node | None = None) -> None:
        """`node`: where it runs in this process."""
        self.url = f"http://127.0.0.1:{port}"
        self._node = node
        self._http = http

    @property
    def node(self) -> Node:
        assert self._node is not None
        return self._node

    @classmethod
    @asynccontextmanager
    async def around(cls, node: Node) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as http:
            yield cls(node.port, http, node)

    async def ask(self, method: str, path: str, headers: Headers | None = None, body: object = None) -> Reply:
        url = URL(f"{self.url}{path}", encoded=True)
        async with self._http.request(method, url, json=body, headers=dict(headers or {})) as response:
            return Reply(response.status, await response.text(), response.headers)

    async def must(self, method: str, path: str, headers: Headers, body: object = None) -> Reply:
        reply = await self.ask(method, path, headers, body)
        assert reply.status == 200, reply
        return reply

    async def furnish(self) -> None:
        """What acme keeps: profiles, a group that rex has been in, a direct conversation, lists, cursors."""
        acme = back_end(ACME)
        described = {"name": "Ann", "properties": {"note": f"{SECRET} properties of a user"}}
        await self.must("PUT", "/v1/users/ann", acme, described)
        await self.must("PUT", "/v1/users/ann", back_end(UMBRELLA), {"name": "Another Ann"})
        team = {"kind": "group", "conv": TEAM, "members": ["ann", "ben", "rex"]}
        await self.must("POST", "/v1/conversations", acme, team)
        await self.must("POST", "/v1/conversations", acme, {"kind": "direct", "members": ["ann", "ben"]})
        await self.must("DELETE", f"/v1/conversations/{TEAM}/members/rex", acme)
        secrets = {"title": f"{SECRET} title", "properties": {"plan": f"{SECRET} properties"}}
        await self.must("PATCH", f"/v1/conversations/{TEAM}", acme, secrets)
        for conv in (TEAM, DIRECT):
            entry = {"body": {"text": f"{SECRET} words"}, "sender": "ann"}
            await self.must("POST", f"/v1/conversations/{quote(conv)}/entries", acme, entry)
        for user, listed in (("ann", 2), ("ben", 2), ("rex", 1)):
            await self.lists(user, listed)

    async def lists(self, user: str, count: int) -> None:
        """Wait until a user's list, which follows the memberships, holds so many conversations."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self.must("GET", f"/v1/conversations?user={user}", back_end(ACME))
                if len(found.body["items"]) == count:
                    return
                await asyncio.sleep(0.01)

    async def everything(self) -> dict[str, Any]:
        """All of acme, as its back end sees it."""
        paths = [
            "/v1/users/ann",
            "/v1/users/ben",
            "/v1/users/mallory",
            "/v1/conversations?user=ann",
            "/v1/conversations?user=ben",
            "/v1/conversations/~ann/entries",
            "/v1/conversations/~mallory/entries",
            *(
                f"/v1/conversations/{quote(conv)}{part}"
                for conv in (TEAM, DIRECT)
                for part in ("", "/members", "/entries", "/cursors")
            ),
        ]
        return {path: (await self.ask("GET", path, back_end(ACME))).text for path in paths}

    @asynccontextmanager
    async def talking(self, bearer: str, device: str = "phone", **hello: object) -> AsyncIterator["Talk"]:
        """A WebSocket on which hello was said."""
        url = f"{self.url.replace('http', 'ws', 1)}/v1/ws"
        async with connect(url, subprotocols=[Subprotocol(SUBPROTOCOL)], ping_interval=None) as socket:
            talk = Talk(socket)
            await talk.say({"t": "hello", "token": bearer, "device": device} | hello)
            talk.first = await talk.hear()
            yield talk


class Talk:
    """One connection. `first` is the answer to its hello."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.first: Frame = {}
        self.heard: list[Frame] = []

    async def say(self, frame: Frame) -> None:
        with suppress(ConnectionClosed):
            await self.socket.send(json.dumps(frame))

    async def hear(self) -> Frame:
        """The next frame; empty once the connection has ended."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                frame: Frame = json.loads(await self.socket.recv())
        except ConnectionClosed:
            return {}
        self.heard.append(frame)
        return frame

    async def ask(self, frame: Frame) -> Frame:
        """The answer to a frame: the first one that is no hint."""
        await self.say(frame)
        while (answer := await self.hear()).get("t") in ("entry", "heads", "cursors"):
            pass
        return answer

    async def end(self) -> int:
        """The code with which the server closes."""
        while await self.hear():
            pass
        return self.socket.close_code or 0


def a_send(conv: str, name: str = "k", text: str = "words") -> Frame:
    made_at = SystemClock().now_ms()
    return {"t": "send", "conv": conv, "client_id": name, "made_at": made_at, "body": {"text": text}}
