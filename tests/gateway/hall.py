"""A gateway without a network: sockets that record, a database and a bus that do as told, a clock that stands still."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.resume import ResumeTokens, Resumption
from posthouse.auth.tokens import TokenIssuer, TokenVerifier
from posthouse.bus.engines.memory import MemoryBus
from posthouse.cache.base import CacheUnavailable, LogKey
from posthouse.cache.engines.memory import MemoryRoutes
from posthouse.gateway.admission import Admission, Rates
from posthouse.gateway.gateway import Gateway
from posthouse.gateway.limits import GatewayLimits
from posthouse.gateway.session import Session
from posthouse.gateway.websocket import Frame as WireFrame, Socket
from posthouse.kit.clock import ManualClock
from posthouse.kit.tasks import Tasks
from posthouse.messaging.commit import CommitLimits, GroupCommit
from posthouse.messaging.gather import QUERIES_PER_S
from posthouse.messaging.notes import Note, encode_notes
from posthouse.messaging.publish import Publisher
from posthouse.messaging.receipts import Receipts
from posthouse.storage.base import Database, Log
from tests.gateway.fake_database import APP, FakeDatabase

Frame = dict[str, Any]
PATIENCE_TURNS = 500
KEYS = {
    app: AppKeys(
        signing=(
            SigningKey(kid="k1", algorithm=Algorithm.HS256, secret=f"a secret of {app}, long enough for it"),
        )
    )
    for app in (APP, "other")
}


class RecordingSocket:
    """Keeps what is written to it. `on_full` is called by the next frame, as a transport calls `pause_writing`."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.close_code = 0
        self.buffered_bytes = 0
        self.on_full: Callable[[], None] | None = None

    def send(self, frame: WireFrame) -> None:
        if not self.close_code:
            self.frames.append(msgspec.json.decode(_payload(frame.plain)))
            on_full, self.on_full = self.on_full, None
            if on_full is not None:
                on_full()

    def close(self, code: int, reason: str = "") -> None:
        self.close_code = self.close_code or code


class Guest:
    """A client of the hall."""

    def __init__(self, session: Session, socket: RecordingSocket) -> None:
        self.session = session
        self.socket = socket

    @property
    def frames(self) -> list[Frame]:
        return self.socket.frames

    @property
    def ended(self) -> int:
        """The code of the close, or 0."""
        return self.socket.close_code

    def say(self, **frame: object) -> None:
        if not self.socket.close_code:
            self.session.received(json.dumps(frame).encode())

    def hello(self, user: str, device: str = "phone", **fields: object) -> None:
        self.say(t="hello", token=token(user), device=device, **fields)

    def send(self, conv: str, client_id: str, **fields: object) -> None:
        self.say(t="send", conv=conv, client_id=client_id, made_at=1, body={"text": client_id}, **fields)

    def heard(self, kind: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["t"] == kind]

    def entries(self, conv: str = "") -> list[tuple[str, int]]:
        """The entries that were pushed, in order."""
        pushed = [frame["entry"] for frame in self.heard("entry")]
        return [(entry["conv"], entry["seq"]) for entry in pushed if conv in ("", entry["conv"])]

    def codes(self) -> list[int]:
        """The codes of the requests and sends that were refused."""
        return [frame["code"] for frame in self.heard("error")]

    @property
    def welcome(self) -> Frame:
        (welcome,) = self.heard("welcome")
        return welcome

    def vanish(self) -> None:
        """The connection is gone."""
        self.socket.close_code = self.socket.close_code or 1006
        self.session.closed(self.socket.close_code)


class FlakyRoutes(MemoryRoutes):
    """Routes that fall silent when told to. `lost` is what the next `keep` has put back."""

    silent = False
    lost: Sequence[LogKey] = ()

    async def register(self, gateway: str, keys: Sequence[LogKey]) -> None:
        if self.silent:
            raise CacheUnavailable("silent")
        await super().register(gateway, keys)

    async def keep(self, gateway: str) -> Sequence[LogKey]:
        lost, self.lost = self.lost, ()
        return lost


class Hall:
    """The gateway `n` with everything that it stands on."""

    def __init__(
        self,
        rates: Rates | None = None,
        limits: GatewayLimits | None = None,
        commit_limits: CommitLimits | None = None,
        place_of: Callable[[str, str], str] = lambda app, log: "",
    ) -> None:
        self.clock = ManualClock()
        self.database = FakeDatabase()
        self.bus = MemoryBus()
        self.routes = FlakyRoutes()
        self.tasks = Tasks(self.clock)
        publisher = Publisher(self.bus, self.routes)
        log = cast("Log", self.database)
        self.commit = GroupCommit(log, publisher, commit_limits or CommitLimits())
        self.receipts = Receipts(log, publisher, self.clock)
        self.resume_tokens = ResumeTokens("a secret for resuming, long enough for it")
        self.gateway = Gateway(
            "n",
            cast("Database", self.database),
            self.commit,
            self.receipts,
            self.routes,
            TokenVerifier(KEYS, ttl_s_max=86_400),
            self.resume_tokens,
            Admission(rates or Rates(), self.clock.monotonic()),
            self.clock,
            limits or GatewayLimits(),
            place_of=place_of,
        )
        publisher.local = self.gateway.notes.hear

    def accept(self) -> Guest:
        """Somebody has opened a connection."""
        socket = RecordingSocket()
        return Guest(self.gateway.accept(cast("Socket", socket)), socket)

    async def enter(self, user: str, device: str = "phone", **fields: object) -> Guest:
        """Somebody has been let in."""
        guest = self.accept()
        guest.hello(user, device, **fields)
        await until(lambda: guest.heard("welcome") or guest.ended)
        assert not guest.ended, guest.frames
        return guest

    async def enter_all(self, users: Iterable[str]) -> list[Guest]:
        """Many have been let in, one after the other, no faster than questions for them may be asked."""
        guests = []
        for user in users:
            guests.append(await self.enter(user))
            await self.clock.advance(1 / QUERIES_PER_S)
        return guests

    def tell(self, *notes: Note) -> None:
        """One message of the bus."""
        self.gateway.notes.deliver(encode_notes(list(notes)))

    def resume(self, user: str, device: str = "phone", epoch: str = "e1", **positions: int) -> Frame:
        """The `resume` of a client that comes back."""
        claim = Resumption(
            app=APP,
            user=user,
            device=device,
            session="s",
            node="n",
            epoch=epoch,
            issued_s=self.clock.now_ms() // 1000,
            expires_s=self.clock.now_ms() // 1000 + 60,
        )
        named = {conv.replace("account_", "~"): seq for conv, seq in positions.items()}
        return {"token": self.resume_tokens.issue(claim), "epoch": epoch, "positions": named}


@asynccontextmanager
async def hall(
    rates: Rates | None = None,
    limits: GatewayLimits | None = None,
    commit_limits: CommitLimits | None = None,
    place_of: Callable[[str, str], str] = lambda app, log: "",
) -> AsyncIterator[Hall]:
    """An open hall."""
    hall = Hall(rates, limits, commit_limits, place_of)
    await hall.gateway.load_blocked([APP])
    hall.tasks.supervise("commit", hall.commit.run)
    try:
        yield hall
    finally:
        await hall.tasks.close()
        await hall.gateway.tasks.close()


def token(user: str, app: str = APP, device: str = "", ttl_s: int = 3_600) -> str:
    now_s = ManualClock().now_ms() // 1000
    return TokenIssuer(KEYS).issue(app, user, now_s=now_s, ttl_s=ttl_s, device=device)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the event loop brings about by itself."""
    for _ in range(PATIENCE_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come about")


async def settled() -> None:
    """Let everything that can happen happen."""
    for _ in range(PATIENCE_TURNS):
        await asyncio.sleep(0)


def _payload(frame: bytes) -> bytes:
    """The payload of an unmasked frame."""
    size = frame[1]
    return frame[2:] if size < 126 else frame[4:] if size == 126 else frame[10:]
