"""Whom to trust as a client of TLS. Every context verifies whom it talks to, and knows TLS 1.2 and newer only."""

import ssl
from pathlib import Path


class NoAuthority(ValueError):
    """The file that was named vouches for nobody; the message says which, why, and what it should hold."""


def trusting(ca: str | Path) -> ssl.SSLContext:
    """Trusts the authorities in a file in PEM, or a certificate that vouches for itself, and no others.

    Names are checked: the certificate must be for the host that is asked for. Raises `NoAuthority`.
    """
    context = ssl.create_default_context(cadata=_read(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def trusting_exactly(certificate: str | Path) -> ssl.SSLContext:
    """Trusts whoever has the key of the first certificate in a file, under whatever address, and nobody else.

    For a server on this very machine whose certificate names the address that others use. Raises `NoAuthority`.
    """
    first, end, _ = _read(certificate).partition(_END)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be an authority
    context.load_verify_locations(cadata=first + end)
    return context


_END = "-----END CERTIFICATE-----\n"


def _read(path: str | Path) -> str:
    """What a file in PEM holds, once it is known to be a certificate."""
    try:
        text = Path(path).read_text("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            raise NoAuthority(f"{path}: holds no certificate in PEM") from None
        raise NoAuthority(f"{path}: {error.strerror}") from None
    except ValueError:  # no ASCII, or empty
        raise NoAuthority(f"{path}: holds no certificate in PEM") from None
    return text
