"""How a deployment of Redis or Valkey is named: one text says how it runs, where, and how to get in. Pure.

    redis://user:password@host:6379/0                      one server
    redis+sentinel://user:password@h1:26379,h2:26379/name  a primary that Sentinels watch under a name
    redis+cluster://user:password@h1:6379,h2:6379          a Cluster; some of its servers, the others are found

`rediss` in place of `redis` means TLS; `valkey` and `valkeys` mean the same as `redis` and `rediss`.
"""

import re
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

Mode = Literal["alone", "sentinel", "cluster"]

SCHEMES = r"(?:redis|valkey)(s?)(?:\+(sentinel|cluster))?"
_HOST = re.compile(rb"[\w.:%-]{1,253}")
_DEFAULT_PORTS = {"alone": 6379, "sentinel": 26379, "cluster": 6379}
_OPTIONS = {"ca", "cert", "key", "verify", "db", "sentinel-user", "sentinel-password"}


class InvalidAddress(ValueError):
    """The address cannot be used. The message is for the person who wrote it, and holds no password."""


class Place(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def place_told(host: object, port: object) -> Place | None:
    """Where a server says that another one listens; None when nobody can listen there."""
    if not isinstance(host, bytes) or not _HOST.fullmatch(host):
        return None
    if not isinstance(port, int) or not 0 < port < 65_536:
        return None
    name = host.decode("ascii")
    try:
        name.encode("idna")
    except UnicodeError:  # a label that is empty or too long, which the resolver would fall over
        return None
    return Place(name, port)


class Login(NamedTuple):
    """How to get in; an empty password means that none is asked for. Never shown as it is."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"<Login {self.user or 'default'}>"


class Tls(NamedTuple):
    """Files in PEM: `ca` vouches for the servers (empty: the system's), `cert` and `key` for us. `verify` False
    takes any server for the right one."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    verify: bool = True


class Address(NamedTuple):
    """A deployment. `places` are servers, Sentinels, or some of a Cluster's servers; `name` is what Sentinels call
    the primary."""

    mode: Mode
    places: tuple[Place, ...]
    login: Login
    database: int
    tls: Tls | None
    name: str
    sentinel_login: Login

    def __str__(self) -> str:
        """Fit for logs and messages: without what lets one in."""
        scheme = f"redis{'s' if self.tls else ''}{'' if self.mode == 'alone' else '+' + self.mode}"
        path = {"alone": f"/{self.database}", "sentinel": f"/{self.name}", "cluster": ""}[self.mode]
        return f"{scheme}://{','.join(map(str, self.places))}{path}"


def parse(url: str) -> Address:
    """The deployment that `url` names. Raises `InvalidAddress`."""
    scheme, _, rest = url.partition("://")
    known = re.fullmatch(SCHEMES, scheme)
    if known is None or not rest:
        raise InvalidAddress("an address begins with redis://, redis+sentinel:// or redis+cluster://")
    # urlsplit knows one host only, and is right about all else.
    try:
        split = urlsplit("//" + rest)
    except ValueError:
        raise InvalidAddress("each server is written host:port, several with commas between") from None
    secret, _, hosts = split.netloc.rpartition("@")
    user, _, password = secret.partition(":")
    options = _options(split.query)
    mode = _MODES[known[2]]
    path = unquote(split.path.strip("/"))
    if mode == "sentinel" and not path:
        raise InvalidAddress("say which primary the Sentinels watch: redis+sentinel://host:26379/NAME")
    return Address(
        mode,
        tuple(_place(host, _DEFAULT_PORTS[mode]) for host in hosts.split(",")),
        Login(unquote(user), unquote(password)),
        _database(options.get("db", path if mode == "alone" else "") or "0", mode),
        _tls(options) if known[1] else None,
        path if mode == "sentinel" else "",
        Login(options.get("sentinel-user", ""), options.get("sentinel-password", "")),
    )


_MODES: dict[str | None, Mode] = {None: "alone", "sentinel": "sentinel", "cluster": "cluster"}


def _options(query: str) -> dict[str, str]:
    if "@" in query:  # then what stands here is a part of the password, and must not be named
        raise InvalidAddress("in a user or password, / is written %2F, ? is written %3F and # is written %23")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise InvalidAddress(f"no option is called {unknown[0]}; there are {', '.join(sorted(_OPTIONS))}")
    return options


def _place(text: str, default_port: int) -> Place:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/?#@\s]+)(?::(\d{1,5}))?", text)
    if found is None or int(found[2] or 1) not in range(1, 65536):
        raise InvalidAddress("each server is written host:port, several with commas between")
    return Place(found[1].strip("[]"), int(found[2] or default_port))


def _database(text: str, mode: Mode) -> int:
    if not re.fullmatch(r"\d{1,5}", text):
        raise InvalidAddress("the database after the last / is a number, such as redis://host:6379/0")
    if int(text) and mode == "cluster":
        raise InvalidAddress("a Cluster has database 0 only")
    return int(text)


def _tls(options: dict[str, str]) -> Tls:
    verify = options.get("verify", "yes")
    if verify not in ("yes", "no"):
        raise InvalidAddress("verify is yes or no")
    return Tls(options.get("ca", ""), options.get("cert", ""), options.get("key", ""), verify == "yes")
