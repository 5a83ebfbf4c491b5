"""A small chat server for tests of the SDK, on the `websockets` library: honest unless a test tells it to misbehave.

It keeps logs in memory and speaks the protocol through plain dictionaries, not through our frame types.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SUBPROTOCOL = "posthouse.v1.json"
Frame = dict[str, Any]
Twist = Callable[["Link", Frame], Awaitable[bool]]
"""Sees a frame before the server does. True: it has been dealt with."""


class Link:
    """One client's connection."""

    def __init__(self, peer: "ScriptedServer", socket: ServerConnection) -> None:
        self.peer = peer
        self.socket = socket
        self.user = ""
        self.device = ""
        self.hello: Frame = {}
        self.frames: list[Frame] = []
        self.blocked: dict[str, str] = {}

    async def say(self, frame: Frame) -> None:
        """Send one frame; nothing when the client is gone."""
        with suppress(ConnectionClosed):
            await self.socket.send(json.dumps(frame))

    async def cut(self) -> None:
        """Break the connection without a close frame."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def end(self, code: int, reason: str = "", **goaway: Any) -> None:
        """Say goaway and close, as a real server does."""
        await self.say({"t": "goaway", "code": code, "reason": reason, **goaway})
        await self.socket.close(code, reason)


class ScriptedServer:
    """Logs, sessions, and what the test wants to go wrong."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Frame]] = {}
        self.members: dict[str, dict[str, int]] = {}
        self.epoch = "e1"
        self.links: list[Link] = []
        self.hellos: list[Frame] = []
        self.seen: list[Frame] = []
        self.twist: Twist | None = None
        self.refuse_upgrades = 0
        self.refuse_with = HTTPStatus.SERVICE_UNAVAILABLE
        self.refuse_saying = "full"
        self.slams = 0
        """How many connections to break right after the handshake."""
        self.requests: list[str] = []
        self.endpoints: list[Frame] | None = None
        self.ttl_s = 60.0
        self.muted: set[str] = set()
        """Logs whose entries are not pushed: the hint is lost."""
        self.resumes = True
        self.in_flight_max = 64
        self.changed = asyncio.Condition()
        self._server: Server | None = None
        self._port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/v1/ws"

    async def start(self) -> None:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            process_request=self._answer_http,
            ping_interval=None,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: connections break without a word, the port refuses."""
        assert self._server is not None
        for link in list(self.links):
            link.socket.transport.abort()
        self._server.close(close_connections=False)
        await self._server.wait_closed()

    # What a test does

    def add(self, conv: str, *users: str) -> None:
        """Make a conversation that users are members of from the start, without account entries."""
        self.logs.setdefault(conv, [])
        self.members.setdefault(conv, {}).update(dict.fromkeys(users, 1))

    async def entry(
        self, conv: str, text: str, sender: str = "bob", kind: str = "message", **more: Any
    ) -> int:
        """Append an entry by someone else and push it."""
        name = f"c{len(self.logs[conv])}"
        appended = await self._append(conv, kind, {"text": text}, sender, "other", name, **more)
        return int(appended["seq"])

    async def join(self, conv: str, user: str) -> None:
        """Let a user join a conversation, with the entry in both logs."""
        joined = await self._append(conv, "member.joined", {"users": [user]}, "", "", "")
        self.members.setdefault(conv, {})[user] = joined["seq"]
        self.logs.setdefault(f"~{user}", [])
        body = {"conv": conv, "joined_seq": joined["seq"]}
        await self._append(f"~{user}", "conversation.joined", body, "", "", "")

    async def leave(self, conv: str, user: str) -> None:
        """Remove a user, with the entry in both logs."""
        left = await self._append(conv, "member.left", {"users": [user]}, "", "", "")
        del self.members[conv][user]
        self.logs.setdefault(f"~{user}", [])
        body = {"conv": conv, "left_seq": left["seq"]}
        await self._append(f"~{user}", "conversation.left", body, "", "", "")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something the server sees has become true."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(condition)

    def frames(self, kind: str) -> list[Frame]:
        """All frames of a kind that clients have sent."""
        return [frame for frame in self.seen if frame["t"] == kind]

    # What it does itself

    def _answer_http(self, socket: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request.path)
        if request.path == "/v1/endpoints" and self.endpoints is not None:
            body = json.dumps({"endpoints": self.endpoints, "ttl_s": self.ttl_s}).encode()
            headers = Headers(
                {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            )
            return Response(200, "OK", headers, body)
        if request.path != "/v1/ws":
            return socket.respond(HTTPStatus.NOT_FOUND, "")
        if self.refuse_upgrades:
            self.refuse_upgrades -= 1
            return socket.respond(self.refuse_with, self.refuse_saying)
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        if self.slams:
            self.slams -= 1
            socket.transport.abort()
            return
        link = Link(self, socket)
        self.links.append(link)
        try:
            async for message in socket:
                frame = json.loads(message)
                link.frames.append(frame)
                self.seen.append(frame)
                if self.twist is None or not await self.twist(link, frame):
                    await getattr(self, f"on_{frame['t']}")(link, frame)
                async with self.changed:
                    self.changed.notify_all()
        except ConnectionClosed:
            pass
        finally:
            self.links.remove(link)
            async with self.changed:
                self.changed.notify_all()

    async def on_hello(self, link: Link, frame: Frame) -> None:
        link.hello, link.user, link.device = frame, frame["token"].split(":")[0], frame["device"]
        self.hellos.append(frame)
        resume = frame.get("resume")
        resumed = resume is not None and self.resumes and resume["epoch"] == self.epoch
        heads = {log: self._head(log) for log in self._logs_of(link.user)}
        positions = resume["positions"] if resumed and resume is not None else {}
        await link.say(
            {
                "t": "welcome",
                "session": f"s{len(self.hellos)}",
                "user": link.user,
                "device": link.device,
                "node": "n1",
                "at_ms": 1_700_000_000_000,
                "epoch": self.epoch,
                "resume_token": "resume-me",
                "heartbeat_s": frame.get("heartbeat_s", 30),
                "account_head": self._head(f"~{link.user}"),
                "limits": {
                    "frame_bytes_max": 65536,
                    "body_bytes_max": 32768,
                    "in_flight_max": self.in_flight_max,
                    "repeat_window_s": 1000,
                },
                "resumed": resumed,
                "reset": 4101 if resume is not None and not resumed else 0,
                "changed": {
                    log: head for log, head in heads.items() if resumed and head > positions.get(log, 0)
                },
            }
        )

    async def on_send(self, link: Link, frame: Frame) -> None:
        conv, client_id = frame["conv"], frame["client_id"]
        blocked = link.blocked.get(conv)
        if blocked not in (None, client_id):
            await self.refuse(link, frame, 4502, "an earlier send waits")
            return
        link.blocked.pop(conv, None)
        if link.user not in self.members.get(conv, {}):
            await self.refuse(link, frame, 4601, "not a member")
            return
        known = [
            entry
            for entry in self.logs[conv]
            if (entry["sender"], entry["device"], entry["client_id"]) == (link.user, link.device, client_id)
        ]
        entry = known[0] if known else await self._append(
            conv, frame.get("kind", "message"), frame["body"], link.user, link.device, client_id, but=link,
            reply_to=frame.get("reply_to", 0), mentions=frame.get("mentions", []),
        )  # fmt: skip
        await self.ack(link, entry)

    async def refuse(self, link: Link, frame: Frame, code: int, reason: str, retry_after_ms: int = 0) -> None:
        """Refuse a send or a request; a send refused for now holds back what follows it."""
        error = {"t": "error", "code": code, "reason": reason, "retry_after_ms": retry_after_ms}
        if frame["t"] == "send":
            if 4500 <= code < 4600 and code != 4502:
                link.blocked.setdefault(frame["conv"], frame["client_id"])
            error |= {"conv": frame["conv"], "client_id": frame["client_id"]}
        else:
            error["ref"] = frame["ref"]
        await link.say(error)

    async def ack(self, link: Link, entry: Frame) -> None:
        names = ("conv", "client_id", "seq", "at_ms", "ordinal")
        await link.say({"t": "ack"} | {name: entry[name] for name in names})

    async def on_fetch(self, link: Link, frame: Frame) -> None:
        log, limit = self.logs.get(frame["conv"], []), frame.get("limit", 100)
        joined = self.members.get(frame["conv"], {}).get(link.user, 1)
        visible = [entry for entry in log if entry["seq"] >= joined]
        if "after" in frame:
            found = [entry for entry in visible if entry["seq"] > frame["after"]]
        else:
            before = frame.get("before", len(log) + 1)
            found = [entry for entry in reversed(visible) if entry["seq"] < before]
        page = found[:limit]
        await link.say(
            {
                "t": "entries", "ref": frame["ref"], "conv": frame["conv"], "entries": page,
                "head": len(log), "first_seq": 1, "complete": len(page) == len(found),
            }
        )  # fmt: skip

    async def on_list(self, link: Link, frame: Frame) -> None:
        convs = sorted(conv for conv, members in self.members.items() if link.user in members)
        start = int(frame.get("page") or 0)
        page = convs[start : start + 2]
        more = start + 2 < len(convs)
        answer = {
            "t": "conversations",
            "ref": frame["ref"],
            "items": [self._summary(conv, link.user) for conv in page],
        }
        await link.say(answer | ({"next_page": str(start + 2)} if more else {}))

    async def on_cursor(self, link: Link, frame: Frame) -> None:
        await link.say({"t": "done", "ref": frame["ref"]})

    async def on_renew(self, link: Link, frame: Frame) -> None:
        await link.say({"t": "done", "ref": frame["ref"]})

    async def on_ping(self, link: Link, frame: Frame) -> None:
        await link.say({"t": "pong"})

    async def _append(
        self,
        conv: str,
        kind: str,
        body: Frame,
        sender: str,
        device: str,
        client_id: str,
        but: Link | None = None,
        **more: Any,
    ) -> Frame:
        log = self.logs.setdefault(conv, [])
        ordinal = (log[-1]["ordinal"] if log else 0) + (kind == "message")
        entry = {
            "conv": conv, "seq": len(log) + 1, "kind": kind, "at_ms": 1_700_000_000_000, "ordinal": ordinal,
            "body": body, "sender": sender, "device": device, "client_id": client_id, **more,
        }  # fmt: skip
        log.append(entry)
        if conv not in self.muted:
            for link in list(self.links):
                if link is not but and link.hello and conv in self._logs_of(link.user):
                    await link.say({"t": "entry", "entry": entry})
        return entry

    def _logs_of(self, user: str) -> list[str]:
        return [f"~{user}", *(conv for conv, members in self.members.items() if user in members)]

    def _head(self, log: str) -> int:
        return len(self.logs.get(log, []))

    def _summary(self, conv: str, user: str) -> Frame:
        log = self.logs[conv]
        return {
            "conv": conv, "kind": "group", "role": "member", "head": len(log), "first_seq": 1,
            "joined_seq": self.members[conv][user], "members": len(self.members[conv]),
            "unread": log[-1]["ordinal"] if log else 0,
        } | ({"last": log[-1]} if log else {})  # fmt: skip


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    """A server that stands, and is gone afterwards."""
    server = ScriptedServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
