"""From the errors that the rooms below raise to what a person is told, and to an exit code."""

from posthouse.app.certificates import CertificateError
from posthouse.app.config import ConfigError
from posthouse.app.lock import FolderInUse
from posthouse.app.reaching import Unreachable
from posthouse.app.secrets import SecretsError
from posthouse.auth.keys import InvalidKey
from posthouse.cli.failure import Exit, Failure
from posthouse.client.errors import (
    ClientError,
    InvalidArgument,
    NotConnected,
    Refused,
    RequestFailed,
    StoreInUse,
    TokenRefused,
)
from posthouse.kit.tls import NoAuthority
from posthouse.model.errors import ModelError
from posthouse.protocol.codes import Code
from posthouse.storage.base import StorageError
from posthouse.valkey.address import InvalidAddress

_LOOK = "`posthouse conversations` lists yours; @USER names the direct one with a user."
_TODO_OF_CODE: dict[int, str] = {
    Code.NOT_MEMBER: _LOOK,
    Code.NOT_FOUND: _LOOK,
    Code.UNAUTHORIZED: "Get a new token with `posthouse token`, or leave --token out.",
}
_AS_THEY_ARE = (
    CertificateError,
    ConfigError,
    SecretsError,
    FolderInUse,
    InvalidKey,
    InvalidAddress,
    NoAuthority,
    StorageError,
)
"""Errors that say themselves what is wrong and what to do."""


def failure_of(error: Exception) -> Failure | None:
    """What to say of an error, or None for one that nobody foresaw: a fault of ours, to be shown as it is."""
    if isinstance(error, ClientError):
        return _of_client(error)
    if isinstance(error, ModelError):
        return Failure(_sentence(str(error)), exit_code=Exit.USAGE)
    if isinstance(error, Unreachable):
        todo = "Start it, or correct its address. A node needs it to begin, and goes on without it later."
        return Failure(_sentence(str(error)), todo)
    if isinstance(error, _AS_THEY_ARE):
        return Failure(_sentence(str(error)))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror}.")
    return None


def _of_client(error: ClientError) -> Failure:
    text = _sentence(str(error))
    match error:
        case InvalidArgument():
            return Failure(text, exit_code=Exit.USAGE)
        case NotConnected() | RequestFailed():
            return Failure(text, "Check the address, and that a Posthouse server is there.", Exit.UNREACHABLE)
        case TokenRefused():
            what = f"The server refused the token: {error.reason} ({error.code})."
            return Failure(
                what, "Make one with `posthouse token`, in the server's own folder.", Exit.UNAUTHORIZED
            )
        case Refused():
            exit_code = Exit.UNAUTHORIZED if error.code == Code.UNAUTHORIZED else Exit.FAILED
            return Failure(
                _sentence(f"{error.reason} ({error.code})"), _TODO_OF_CODE.get(error.code, ""), exit_code
            )
        case StoreInUse():
            return Failure(text, "End the other one first.")
        case _:
            return Failure(text)


def _sentence(text: str) -> str:
    """A message, ended as a sentence, and begun as one unless it begins with something's name."""
    first = text.split(" ", maxsplit=1)[0]
    text = text[:1].upper() + text[1:] if first.isalpha() else text
    return text if text.endswith((".", "!", "?")) else f"{text}."
