"""Whom a command trusts when it speaks TLS: the authorities in a file it was given, the very certificate of the server
whose data folder it stands in, or else the system's authorities."""

import ssl
from pathlib import Path

import click

CERTIFICATE_FILE = "certificate"
"""In the data folder of a server that speaks TLS: the path of its certificate."""

ca_option = click.option(
    "--ca",
    metavar="FILE",
    default="",
    envvar="POSTHOUSE_CA",
    show_envvar=True,
    help="Who vouches for an https server.  [default: the data folder's certificate, else the system's authorities]",
)


def trust(ca: str, address: str, folder: Path) -> ssl.SSLContext | None:
    """None: the system's authorities. `address` is empty when the data folder says where the server is.

    Raises `NoAuthority` for a file that vouches for nobody.
    """
    from posthouse.kit.tls import trusting, trusting_exactly

    if ca:
        return trusting(ca)
    certificate = "" if address else _certificate_of(folder)
    return trusting_exactly(certificate) if certificate else None


def note_certificate(folder: Path, certificate: str) -> None:
    """Let the commands beside a server's data folder know its certificate; empty: it has none."""
    path = folder / CERTIFICATE_FILE
    if certificate:
        path.write_text(f"{Path(certificate).absolute()}\n", "utf-8")
    else:
        path.unlink(missing_ok=True)


def _certificate_of(folder: Path) -> str:
    try:
        return (folder / CERTIFICATE_FILE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
