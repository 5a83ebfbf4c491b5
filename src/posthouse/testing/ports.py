"""Ports on loopback for servers that tests start: free now, none given twice by this process."""

import itertools
import os
import socket
from collections.abc import Iterator

_PORTS = range(12_000, 30_000)
_next_port = itertools.count(os.getpid() * 31)


def free_ports() -> Iterator[int]:
    """Ports nobody listens on now, none given twice.

    They lie below those that the system gives to outgoing connections: else a client that dials a stopped server
    may be given that very port, meet itself, and keep the server from coming back.
    """
    for number in itertools.islice(_next_port, len(_PORTS)):
        port = _PORTS[number % len(_PORTS)]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
