"""Opens links: reaches a server, gets in, and makes sure that it is what the address says it is."""

import asyncio
import functools
import re
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

from posthouse.kit.clock import Clock
from posthouse.valkey.address import Login, Mode, Place, Tls
from posthouse.valkey.link import (
    Command,
    Link,
    LinkCounts,
    LinkLimits,
    Misconfigured,
    ReplyError,
    Unavailable,
)

VERSION_MIN = 7
CLIENT_NAME = "posthouse"


class Access(NamedTuple):
    """What is the same for all servers of one kind in a deployment."""

    login: Login
    database: int
    tls: Tls | None
    mode: Mode
    limits: LinkLimits
    clock: Clock
    counts: LinkCounts


def _pass_over(_push: list[Any]) -> None:
    """For links that subscribe to nothing."""


async def connect(place: Place, access: Access, on_push: Callable[[list[Any]], None] = _pass_over) -> Link:
    """A link that answers, to a server that takes writes (or to a Sentinel). Raises `Unavailable`."""
    timeout_s = access.limits.connect_timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            link = await _open(place, access, on_push)
            try:
                await _enter(link, access)
            except BaseException:
                link.close("it was not let in")
                raise
            return link
    except TimeoutError:
        raise Unavailable(f"{place} has not answered for {round(timeout_s * 1000)} ms") from None
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"{place} shows a certificate that is not trusted ({error.verify_message}): "
            "name its authority in the address (?ca=FILE)"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise Unavailable(f"{place} cannot be reached: {reason}") from None


async def _open(place: Place, access: Access, on_push: Callable[[list[Any]], None]) -> Link:
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: Link(str(place), access.limits, access.clock, on_push, access.counts),
        place.host,
        place.port,
        ssl=_context(access.tls) if access.tls else None,
    )
    return link


async def _enter(link: Link, access: Access) -> None:
    user, password = access.login
    login: Command = ("AUTH", user or "default", password) if password else ()
    hello, *others = await link.call(
        [
            ("HELLO", 3, *login, "SETNAME", CLIENT_NAME),
            *([("SELECT", access.database)] if access.database else []),
        ]
    )
    for reply in (hello, *others):
        if isinstance(reply, ReplyError):
            raise _refusal(link.name, reply)
    _check_kind(link.name, hello, access.mode)


def _refusal(name: str, error: ReplyError) -> Unavailable:
    if error.code in ("WRONGPASS", "NOAUTH", "NOPERM"):
        return Misconfigured(f"{name} refuses user and password ({error}): set them in its address")
    if "unknown command" in str(error) or error.code == "NOPROTO":
        return Misconfigured(f"{name} is older than Redis {VERSION_MIN}.0: upgrade it")
    if "DB index" in str(error):
        return Misconfigured(f"{name} has no such database: change the number at the end of its address")
    return Unavailable(f"{name} refuses: {error}")


_KIND: dict[str, Mode] = {"standalone": "alone", "sentinel": "sentinel", "cluster": "cluster"}
_SCHEME: dict[Mode, str] = {"alone": "redis", "sentinel": "redis+sentinel", "cluster": "redis+cluster"}


def _check_kind(name: str, hello: Any, mode: Mode) -> None:
    if not isinstance(hello, dict) or not hello.keys() >= {b"mode", b"version"}:
        raise Misconfigured(f"{name} does not greet as Redis or Valkey do: name one, and no proxy before it")
    said, version = _words(hello[b"mode"]), _words(hello[b"version"])
    kind = _KIND.get(said)
    if kind is None:
        known = ", ".join(_KIND)
        raise Misconfigured(f"{name} runs in a mode called {said[:40]!r}, and this can use: {known}")
    major = re.match(r"[0-9]{1,9}", version)
    if major is None or int(major[0]) < VERSION_MIN:
        raise Misconfigured(f"{name} is version {version[:40]}, and {VERSION_MIN}.0 is needed: upgrade it")
    if kind != mode:
        what = {"alone": "a server of its own", "sentinel": "a Sentinel", "cluster": "part of a Cluster"}[
            kind
        ]
        raise Misconfigured(f"{name} is {what}: its address begins with {_SCHEME[kind]}://")
    if mode == "alone" and hello.get(b"role") != b"master":
        raise Unavailable(f"{name} is a replica, which takes no writes: name its primary")


def _words(said: object) -> str:
    """What a server says of itself, for people too."""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else repr(said)


@functools.cache
def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the files named in the address cannot be used for TLS: {error}") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
