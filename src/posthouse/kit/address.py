"""Which of this machine's addresses it is reached at from elsewhere."""

import contextlib
import socket

WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound
"""Hosts to listen on that stand for all addresses, and so are nobody's."""
_FAR = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Of RFC 5737 and RFC 3849: routed like any far address, and nobody's."""


def outward_address(family: socket.AddressFamily) -> str:
    """The address that the kernel would send from on the way out, of which nothing is sent. Where it knows no way out:
    the host's name."""
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as unsent:
        unsent.connect((_FAR[family], 9))
        return str(unsent.getsockname()[0])
    return socket.gethostname()


def outward_address_of(host: str) -> str:
    """The same for a server that listens on `host`, a wildcard of IPv4 or IPv6."""
    return outward_address(socket.AF_INET6 if ":" in host else socket.AF_INET)
