"""This node's certificate: read, checked, and read again when its files change, without cutting anybody off.

What cannot be used is refused and the one before is kept. Connections take the context that is there when they begin.
"""

import os
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from posthouse.app.config.values import Tls
from posthouse.kit.clock import Clock
from posthouse.kit.tls import trusting_exactly

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

LOOK_INTERVAL_S = 2.0
WARN_BEFORE = timedelta(days=14)
_OTHERS = stat.S_IRWXO


class CertificateError(Exception):
    """Certificate and key cannot be used; the message says which file, why, and what to do."""


class Loaded(NamedTuple):
    """A certificate in use. `server` is for those who connect here, `own` for this node's connections to itself."""

    server: ssl.SSLContext
    own: ssl.SSLContext
    expires: datetime
    subject: str


class Certificates:
    """`load` first. `tell` is told in one sentence of every change and of every change that was refused."""

    def __init__(self, tls: Tls, clock: Clock, tell: Callable[[str], None]) -> None:
        self._tls = tls
        self._clock = clock
        self._tell = tell
        self._loaded: Loaded | None = None
        self._stamp = self._taken = _stamp(tls)
        self._warned = False

    @property
    def current(self) -> Loaded:
        """What new connections get."""
        assert self._loaded is not None
        return self._loaded

    def expires_in_s(self) -> float:
        """How long the certificate is still good for; below 0 once it is not."""
        return (self.current.expires - self._now()).total_seconds()

    def load(self) -> None:
        """Read the files for the first time. Raises `CertificateError`."""
        self._stamp = self._taken = _stamp(self._tls)
        self._loaded = read(self._tls, self._now())

    def reload(self) -> None:
        """Read the files again, and take them if they can be used."""
        self._taken = _stamp(self._tls)
        try:
            self._loaded = read(self._tls, self._now())
        except CertificateError as refused:
            self._tell(f"the new certificate is refused, and the one before kept: {refused}")
            return
        self._warned = False
        self._tell(f"a new certificate is in use: {self.current.subject}, good until {_day(self.current)}")

    async def watch(self) -> None:
        """Reload when the files have changed, and have stood still since the last look."""
        while True:
            await self._clock.sleep(LOOK_INTERVAL_S)
            before, self._stamp = self._stamp, _stamp(self._tls)
            if self._stamp != self._taken and self._stamp == before:
                self.reload()
            self._warn()

    def _warn(self) -> None:
        if not self._warned and self.current.expires - self._now() < WARN_BEFORE:
            self._warned = True
            self._tell(f"the certificate is good only until {_day(self.current)}: renew it")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


def read(tls: Tls, now: datetime) -> Loaded:
    """Certificate and key, checked. Raises `CertificateError`."""
    certificate = _certificate(tls.certificate, now)
    _check_key(tls, certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    server.options |= ssl.OP_NO_RENEGOTIATION
    server.set_alpn_protocols(["http/1.1"])
    try:
        server.load_cert_chain(tls.certificate, tls.key)
        own = trusting_exactly(tls.certificate)
    except (OSError, ValueError) as error:
        raise CertificateError(f"tls.certificate: {tls.certificate}: cannot be used: {error}") from None
    return Loaded(
        server, own, certificate.not_valid_after_utc, certificate.subject.rfc4514_string() or "no name"
    )


def _certificate(path: str, now: datetime) -> "Certificate":
    from cryptography.x509 import load_pem_x509_certificates  # costs start-up time

    try:
        certificate = load_pem_x509_certificates(_bytes("certificate", path))[0]
    except ValueError:
        raise CertificateError(
            f"tls.certificate: {path}: holds no certificate in PEM; name the file that begins with the node's own"
        ) from None
    if certificate.not_valid_after_utc <= now:
        end = certificate.not_valid_after_utc.date()
        raise CertificateError(f"tls.certificate: {path}: expired on {end}; renew it")
    if certificate.not_valid_before_utc > now:
        begin = certificate.not_valid_before_utc
        raise CertificateError(
            f"tls.certificate: {path}: is not valid before {begin:%Y-%m-%d %H:%M} UTC; is the clock right?"
        )
    return certificate


def _check_key(tls: Tls, certificate: "Certificate") -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    pem = _bytes("key", tls.key)
    if stat.S_IMODE(Path(tls.key).stat().st_mode) & _OTHERS:
        raise CertificateError(
            f"tls.key: {tls.key}: is open to everybody on this machine; chmod o= {tls.key}"
        )
    try:
        public = load_pem_private_key(pem, None).public_key()
    except TypeError:
        raise CertificateError(
            f"tls.key: {tls.key}: is protected by a password; write it without one: openssl pkey -in FILE -out FILE"
        ) from None
    except ValueError:
        raise CertificateError(f"tls.key: {tls.key}: holds no private key in PEM") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if public.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CertificateError(
            f"tls.key: {tls.key}: is not the key of {tls.certificate}; name the two that were made together"
        )


def _bytes(key: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except PermissionError:
        raise CertificateError(
            f"tls.{key}: {path}: may not be read by the user that this node runs as; give it to that user's group"
        ) from None
    except OSError as error:
        raise CertificateError(f"tls.{key}: {path}: {error.strerror}; name a file in PEM") from None


def _stamp(tls: Tls) -> tuple[object, ...]:
    """Changes whenever a file does. A file that is not there has a stamp too."""
    return tuple(_stamp_of(path) for path in (tls.certificate, tls.key))


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - of the file that a link leads to
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _day(loaded: Loaded) -> str:
    return f"{loaded.expires:%Y-%m-%d}"
