"""A node that is attacked, with any configuration, in this process or in one of its own."""

import asyncio
import http.client
import json
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from posthouse.app.config import App, Config, Key
from posthouse.app.config.values import Data, Listen
from posthouse.app.node import Node
from posthouse.auth.keys import Algorithm, AppKeys, SigningKey, api_key_hash
from posthouse.auth.tokens import TokenIssuer
from posthouse.kit.clock import SystemClock
from posthouse.testing.process import START_TIMEOUT_S
from posthouse.testing.servers import LocalServer

PATIENCE_S = 20
ACME, UMBRELLA = "acme", "umbrella"
SECRETS = {ACME: "a secret of acme, long enough to be one", UMBRELLA: "a secret of umbrella, just as long"}
API_KEYS = {app: f"ph_the-api-key-of-{app}" for app in SECRETS}


def config(folder: Path, **rooms: object) -> Config:
    """Two apps, on a free port of loopback; `rooms` in place of the defaults."""
    apps = {
        app: App(
            keys=(Key(kid="k1", alg="HS256", secret=secret),), api_key_hashes=(api_key_hash(API_KEYS[app]),)
        )
        for app, secret in SECRETS.items()
    }
    usual = Config(listen=Listen(port=0), data=Data(folder=str(folder)), apps=apps)
    return replace(usual, **rooms)


@asynccontextmanager
async def running(settings: Config) -> AsyncIterator[Node]:
    """A node in this process."""
    node = Node(settings)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


def token(user: str, app: str = ACME, ttl_s: int = 3_600) -> str:
    """An access token that the node takes."""
    key = SigningKey(kid="k1", algorithm=Algorithm.HS256, secret=SECRETS[app])
    now_s = SystemClock().now_ms() // 1000
    return TokenIssuer({app: AppKeys(signing=(key,))}).issue(app, user, now_s=now_s, ttl_s=ttl_s)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the node brings about by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - it is seen from outside only
            await asyncio.sleep(0.01)


class TlsServer(LocalServer):
    """A server process that speaks TLS. Its readiness is asked without looking at the certificate."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def ask(self, path: str, tls: ssl.SSLContext) -> tuple[int, bytes]:
        """What a GET is answered, and the certificate that was shown."""
        asking = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S, context=tls)
        try:
            asking.request("GET", path)
            shown = asking.sock.getpeercert(True)
            return asking.getresponse().status, shown or b""
        finally:
            asking.close()

    def hang_up(self) -> None:
        """SIGHUP."""
        os.kill(self.pid, signal.SIGHUP)

    def events(self, kind: str) -> list[str]:
        """What its log says of one kind of events."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line["why"] for line in lines if line.get("kind") == kind]

    def _is_ready(self) -> bool:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        try:
            return self.ask("/readyz", unverified)[0] == 200
        except (OSError, http.client.HTTPException):
            return False
