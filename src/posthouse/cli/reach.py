"""How a command reaches a server as a user: address, user, token, and where this installation keeps its outbox.

Next to the data folder of a server nothing needs to be given but the user: the address stands there, and a token is
made with its keys.
"""

import functools
import os
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from posthouse.cli.failure import Exit, Failure
from posthouse.cli.trust import ca_option, trust

if TYPE_CHECKING:
    from posthouse.client import Client
    from posthouse.client.shell import TokenSource

F = TypeVar("F", bound=Callable[..., Any])

ADDRESS_FILE = "address"
"""In the data folder: where the server that keeps its data there listens."""
DEFAULT_ADDRESS = "http://127.0.0.1:8080"
CONNECT_TIMEOUT_S = 5.0
SLUG_CHARS_MAX = 40


class Asked(NamedTuple):
    """What the command line and the environment say; empty where they say nothing."""

    address: str
    user: str
    token: str
    app: str
    data: str | None
    config_file: str | None
    ca: str


class Reach(NamedTuple):
    """A server and who we are there. `outbox` is the path that files of this user begin with. `tls`: whom to trust."""

    address: str
    user: str
    token: "TokenSource"
    outbox: Path
    tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator["Client"]:
        """A connected client. Raises `Failure` when nobody listens, `NotConnected` when no session comes about."""
        from posthouse.client import Client

        await probe(self.address)
        client = Client(
            self.address,
            token=self.token,
            user=self.user,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            tls=self.tls,
            **options,
        )
        async with client:
            yield client


async def probe(address: str) -> None:
    """Raise `Failure` at once when nobody listens, where a client would go on trying."""
    import asyncio

    from posthouse.client.endpoints import parse_address

    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(*_place(parse_address(address).api))
    except (OSError, TimeoutError):
        raise Failure(
            f"Nothing answers at {address}.",
            "Start it with `posthouse up`, or give --address.",
            Exit.UNREACHABLE,
        ) from None
    writer.transport.abort()


def reaching(command: F) -> F:
    """Give a command the options that say which server and who; it gets them as `reach`."""

    @functools.wraps(command)
    def resolved(
        address: str,
        user: str,
        token: str,
        app: str,
        data: str | None,
        config_file: str | None,
        ca: str,
        **others: Any,
    ) -> Any:
        return command(reach=resolve(Asked(address, user, token, app, data, config_file, ca)), **others)

    decorated: Any = resolved
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators keep what they are given


_OPTIONS = (
    click.option(
        "--as",
        "user",
        metavar="USER",
        default="",
        envvar="POSTHOUSE_USER",
        show_envvar=True,
        help="Who you are.",
    ),
    click.option(
        "--address",
        metavar="URL",
        default="",
        envvar="POSTHOUSE_ADDRESS",
        show_envvar=True,
        help=f"The server.  [default: the data folder's, else {DEFAULT_ADDRESS}]",
    ),
    click.option(
        "--token",
        metavar="TOKEN",
        default="",
        envvar="POSTHOUSE_TOKEN",
        show_envvar=True,
        help="Your access token.  [default: one made with the data folder's keys]",
    ),
    click.option("--app", metavar="NAME", default="", help="The app, where there are several."),
    click.option("--data", metavar="FOLDER", help="The server's data folder.  [default: ./posthouse-data]"),
    click.option("--config", "config_file", metavar="FILE", help="The server's configuration file."),
    ca_option,
)


def resolve(asked: Asked) -> Reach:
    """Complete what was asked. Raises `Failure` when it does not say who we are, or nothing here can prove it."""
    from posthouse.cli.issuing import node_config

    config = node_config(asked.data, asked.config_file)
    folder = Path(config.data.folder)
    address = asked.address or address_of(folder)
    tls = trust(asked.ca, asked.address, folder)
    if asked.token:
        user = _user_of(asked.token)
        if asked.user not in ("", user):
            raise Failure(f"The token is {user!r}'s, not {asked.user!r}'s.", "Leave --as out.", Exit.USAGE)
        return Reach(address, user, asked.token, state_folder() / _slug(user, f"{address} {asked.app}"), tls)
    if not asked.user:
        raise Failure("You did not say who you are.", "Give --as USER, or a --token.", Exit.USAGE)
    outbox = folder / "chat" / _slug(asked.user, asked.app)
    return Reach(address, asked.user, _token_source(config, asked), outbox, tls)


def address_of(folder: Path) -> str:
    """Where the server with this data folder listens, or where one does that was told nothing."""
    try:
        return (folder / ADDRESS_FILE).read_text("utf-8").strip() or DEFAULT_ADDRESS
    except (OSError, UnicodeDecodeError):
        return DEFAULT_ADDRESS


def state_folder() -> Path:
    """Where this user's programs keep what should outlive them, beside a server elsewhere."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "posthouse"


def _token_source(config: Any, asked: Asked) -> "TokenSource":
    """A fresh token whenever one is needed."""
    from posthouse.cli.issuing import Issuer
    from posthouse.kit.clock import SystemClock

    issuer, clock = Issuer(config, asked.app), SystemClock()
    ttl_s = config.auth.token_ttl_s
    issuer.issue(asked.user, 0, ttl_s)  # an impossible user is refused here, not by a failing source later
    return lambda: issuer.issue(asked.user, clock.now_ms() // 1000, ttl_s).token


def _user_of(token: str) -> str:
    from posthouse.client.token import read_claims

    user = read_claims(token).sub
    if not user:
        raise Failure(
            "What was given as the token is none.", "Make one with `posthouse token`.", Exit.UNAUTHORIZED
        )
    return user


def _place(api: str) -> tuple[str, int]:
    from urllib.parse import urlsplit

    parts = urlsplit(api)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _slug(user: str, where: str) -> str:
    """A file name for a user: readable, and different for different users."""
    digest = blake2b(f"{where} {user}".encode(errors="replace"), digest_size=4).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', user)[:SLUG_CHARS_MAX].strip('-')}-{digest}"
