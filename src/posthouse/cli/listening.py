"""What to say of an address that cannot be listened on."""

import errno
from typing import TYPE_CHECKING

from posthouse.cli.failure import Failure

if TYPE_CHECKING:
    from posthouse.app.config import Config


def explained(error: OSError, config: "Config") -> Failure:
    """What to say of an address that cannot be had."""
    host, port, direct = config.listen.host, config.listen.port, config.listen.direct_port
    if direct and f", {direct})" in str(error):
        port = direct
    match error.errno:
        case errno.EADDRINUSE:
            return Failure(f"Port {port} of {host} is taken.", f"Choose another, such as --port {port + 1}.")
        case errno.EACCES if error.filename is None:
            return Failure(
                f"Port {port} of {host} is not allowed for you.", "Ports above 1023 are: --port 8080."
            )
        case errno.EADDRNOTAVAIL:
            return Failure(
                f"{host} is no address of this machine.", "Leave --host out, or give 0.0.0.0 for all."
            )
        case _:
            from posthouse.cli.explain import failure_of

            return failure_of(error) or Failure(f"{error}.")
