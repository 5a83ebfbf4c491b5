"""Under which URLs a node is reached: by the other nodes and operators, and by clients. Pure."""

from collections.abc import Callable
from urllib.parse import urlsplit

from posthouse.app.config.values import Config
from posthouse.kit.address import WILDCARDS


def public_url(config: Config) -> str:
    """What clients are told of this node alone: of one of several on a port, the same host and the node's own port.
    Empty: nothing was configured."""
    listen = config.listen
    if listen.public_url and listen.direct_port:
        parts = urlsplit(listen.public_url)
        return _url(parts.hostname or "", listen.direct_port, secure=parts.scheme == "https")
    return listen.public_url.rstrip("/")


def api_url(config: Config, port: int, outward: Callable[[str], str]) -> str:
    """Where the other nodes and operators reach this node, which listens on `port` (0: not yet).

    `outward` is asked for the machine's address where the configuration names none. Not under TLS: there a certificate
    must name it, and nobody but the configuration knows what it names.
    """
    public, host, secure = public_url(config), config.listen.host, bool(config.tls.certificate)
    if public and not config.node.address:
        return public
    if host in WILDCARDS:
        host = "" if secure or config.node.address else outward(host)
    host = config.node.address or host
    return _url(host, port, secure=secure) if host and port else ""


def clients_url(config: Config, api: str) -> str:
    """Where clients open WebSockets to this very node. Behind a balancer that is nowhere, unless the configuration says
    where."""
    url = public_url(config) or ("" if config.listen.front_url else api)
    return url.replace("http", "ws", 1)


def _url(host: str, port: int, *, secure: bool) -> str:
    return f"http{'s' if secure else ''}://{f'[{host}]' if ':' in host else host}:{port}"
