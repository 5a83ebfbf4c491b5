"""What a node writes down: no secret in any log, metric or refusal, and one event a line, whatever strangers send."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from posthouse.auth.keys import Algorithm, AppKeys, SigningKey
from posthouse.auth.operators import operator_key
from posthouse.auth.tokens import TokenIssuer
from posthouse.kit.clock import SystemClock
from posthouse.testing.postgres import LocalPostgres, fresh_database
from posthouse.testing.servers import LocalServer, ServerFailed
from tests.gateway.peers import UPGRADE, head
from tests.security.raw import answer
from tests.security.site import Talk, Town, a_send

PASSWORD = "the-password-of-the-database"
WRONG = {
    "api key": "ph_" + "wrong-but-somebody-s" * 2,
    "operator's key": "pho_" + "wrong-but-somebody-s" * 2,
    "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJhbm4ifQ.c29tZWJvZHkncy1zaWduYXR1cmU",
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres(password=PASSWORD, settings={"fsync": False}) as server:
        yield server


class Busy:
    """A server process that writes down all it can, and what it was told and what it answered."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.answers: list[str] = []
        secrets = server.secrets
        self.operator = operator_key(secrets.resume_secret)
        key = SigningKey(kid=secrets.kid, algorithm=Algorithm.HS256, secret=secrets.secret)
        now_s = SystemClock().now_ms() // 1000
        issuer = TokenIssuer({"default": AppKeys(signing=(key,))})
        self.token = issuer.issue("default", "ann", now_s=now_s, ttl_s=60)
        self.expired = issuer.issue("default", "ann", now_s=now_s - 90, ttl_s=60)
        self.secrets = {
            "the database's password": PASSWORD,
            "the app's secret": secrets.secret,
            "the app's key": secrets.api_key,
            "the secret of resume tokens": secrets.resume_secret,
            "the operator's key": self.operator,
            "a token": self.token,
            "a token that is over": self.expired,
            **{f"a wrong {kind}": value for kind, value in WRONG.items()},
        }

    async def ask(self, http: aiohttp.ClientSession, path: str, **headers: str) -> None:
        url = f"{self.server.url}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with http.request("POST" if path.endswith("tokens") else "GET", url, headers=named) as reply:
            self.answers.append(f"{reply.headers} {await reply.text()}")

    async def log_in_everywhere(self) -> None:
        """With all that is good, and with all that is not."""
        async with aiohttp.ClientSession() as http:
            for path in (
                "/v1/conversations?user=ann",
                "/v1/tokens",
                "/v1/cluster/nodes",
                "/v1/cluster/events",
            ):
                for key in (self.server.secrets.api_key, WRONG["api key"], self.operator, self.token):
                    await self.ask(http, path, X_Api_Key=key)
                    await self.ask(http, path, X_Operator_Key=key)
                    await self.ask(http, path, Authorization=f"ApiKey {key}")
                for bearer in (self.token, self.expired, WRONG["token"], self.operator):
                    await self.ask(http, path, Authorization=f"Bearer {bearer}")
            for misplaced in (f"/v1/users/ann?token={self.token}", f"/v1/users?ids={WRONG['api key']}"):
                await self.ask(http, misplaced, X_Api_Key=self.server.secrets.api_key)
            await self._talk(Town(self.server.port, http))
            for path in ("/readyz", "/metrics"):
                await self.ask(http, path)
        for secret in (self.token, self.server.secrets.api_key, self.operator):
            malformed = f"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {secret}\0\r\n\r\n"
            self.answers.append((await answer(self.server.port, malformed.encode())).decode())

    async def _talk(self, town: Town) -> None:
        for bearer in (self.token, self.expired, WRONG["token"], self.server.secrets.api_key, self.operator):
            async with town.talking(bearer) as talk:
                await self._say_all(talk)
        wrong = {"token": WRONG["token"], "epoch": "e", "positions": {}}
        async with town.talking(self.token, resume=wrong) as talk:
            self.answers += map(str, talk.heard)

    async def _say_all(self, talk: Talk) -> None:
        """The resume token is told to its owner, and is a secret to everybody else."""
        if talk.first["t"] != "welcome":
            self.answers += map(str, talk.heard)
            return
        self.secrets["a resume token"] = talk.first["resume_token"]
        for frame in (
            {"t": "renew", "ref": 1, "token": WRONG["token"]},
            {"t": "renew", "ref": 2, "token": self.expired},
            a_send("~ann", text=PASSWORD),
            {"t": "fetch", "ref": 3, "conv": WRONG["api key"]},
        ):
            self.answers.append(str(await talk.ask(frame)))


@pytest.fixture
async def busy(tmp_path: Path, postgres: LocalPostgres) -> AsyncIterator[Busy]:
    with fresh_database(postgres) as dsn:
        settings = {"log.level": "debug"}
        with LocalServer(tmp_path / "server", database=dsn, settings=settings) as server:
            yield Busy(server)


async def test_no_secret_is_in_any_log_metric_or_answer(busy: Busy) -> None:
    """P-17.1: a node at its most talkative, through good and bad logins over all ways in, and its end."""
    await busy.log_in_everywhere()
    busy.server.stop()
    written = busy.server.log.read_text()
    assert '"level": "debug"' in written or '"level": "info"' in written
    for what, secret in busy.secrets.items():
        assert secret not in written, f"{what} is in the log"
        for text in busy.answers:
            if what != "the database's password" or "text" not in text:
                assert secret not in text, f"{what} is told: {text[:300]}"


@pytest.mark.parametrize("port", [1, None], ids=["nobody there", "no such database"])
def test_a_start_that_fails_tells_no_password(
    tmp_path: Path, postgres: LocalPostgres, port: int | None
) -> None:
    dsn = f"postgresql://posthouse:{PASSWORD}@127.0.0.1:1/x"
    if port is None:
        dsn = postgres.dsn("there-is-no-such-database")
    server = LocalServer(tmp_path / "server", database=dsn, settings={"log.level": "debug"})
    try:
        with pytest.raises(ServerFailed):
            server.start()
        assert PASSWORD not in server.log.read_text()
    finally:
        server.close()


# One event a line -------------------------------------------------------------------------------------------------

FORGED = json.dumps({"at": "2026-01-01T00:00:00.000", "level": "error", "room": "app", "event": "forged"})
LINES = (
    f"\n{FORGED}\n",
    f"\r\n{FORGED}",
    f"\x1b[2J\x1b]0;owned\x07{FORGED}",
    f"\u2028{FORGED}\u2029",
    "\0\x7f\x9b",
)
"""What a line of the log should never become: another line, a terminal's command, a separator of JavaScript."""


class TalkativeServer(LocalServer):
    """All it writes is JSON, its greeting too."""

    def _command(self) -> Sequence[str | Path]:
        return [*super()._command(), "--json"]


async def test_whatever_strangers_send_the_log_stays_one_json_object_a_line(tmp_path: Path) -> None:
    """In paths, headers, ids, JSON, tokens and WebSocket frames; nothing of it stands at the beginning of a line."""
    with TalkativeServer(tmp_path / "server", settings={"log.level": "debug"}) as server:
        async with aiohttp.ClientSession() as http:
            town = Town(server.port, http)
            for line in LINES:
                await everywhere(town, server, line)
        server.stop()
        for written in server.log.read_bytes().splitlines():
            event = json.loads(written)
            assert event.get("event") != "forged"
            assert all(32 <= byte < 127 for byte in written), written


LAST = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def everywhere(town: Town, server: LocalServer, line: str) -> None:
    from urllib.parse import quote

    key = {"X-Api-Key": server.secrets.api_key}
    for path in (
        f"/v1/users/{quote(line)}",
        f"/{quote(line)}",
        f"/v1/users?ids={quote(line)}&{quote(line)}=1",
    ):
        reply = await town.ask("GET", path, key)
        assert reply.status in (400, 404)
        assert no_controls(reply.text)
        assert not {"forged", "owned"} & set(reply.headers.values())
    for body in ({"kind": "group", "conv": line, "members": [line]}, {"kind": line}, {line: line}):
        assert no_controls((await town.ask("POST", "/v1/conversations", key, body)).text)
    raw = line.encode()
    for request in (
        b"GET /" + raw.replace(b"\n", b"\n ") + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nUser-Agent: " + raw + b"\r\nConnection: close\r\n\r\n",
        b"GET /v1/endpoints HTTP/1.1\r\nHost: " + raw + b"\r\nConnection: close\r\n\r\n",
        head(UPGRADE | {"User-Agent": "u"}).replace(b"User-Agent: u", b"User-Agent: " + raw),
    ):
        with suppress(ConnectionError):
            heard = await answer(server.port, request + LAST)
            assert b"forged" not in heard
            assert b"owned" not in heard
    for hello in ({"device": line}, {"device": "phone", "sdk": line}, {"device": "phone", "resume": line}):
        async with town.talking(line, **{"device": "phone"} | hello) as talk:
            assert no_controls(talk.first.get("reason", ""))


def no_controls(text: str) -> bool:
    return all(char.isprintable() for char in text)
