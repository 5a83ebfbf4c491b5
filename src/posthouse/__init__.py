"""Posthouse: an instant-messaging service that goes on when any one machine falls over.

`from posthouse import Client` is the Python SDK; `posthouse.client` has its events and errors.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posthouse.client import Client as Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> object:
    """Import the SDK when it is first asked for: the server and the command line start without it."""
    if name == "Client":
        from posthouse.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
