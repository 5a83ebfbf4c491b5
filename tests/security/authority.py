"""Certificates as they are made for a day: an authority, and what it signs, with any fault that a test wants."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from posthouse.app.config.values import Tls

DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)
HOST = "127.0.0.1"


class Pair(NamedTuple):
    """A certificate and its key, in files."""

    certificate: Path
    key: Path

    @property
    def tls(self) -> Tls:
        """As the configuration names them."""
        return Tls(certificate=str(self.certificate), key=str(self.key))

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number

    def put_in_place_of(self, other: "Pair") -> None:
        """As a tool that renews certificates does: each file is replaced whole, the one after the other."""
        for mine, theirs in zip(self, other, strict=True):
            fresh = theirs.with_suffix(".fresh")
            fresh.touch(mode=0o600)
            fresh.write_bytes(mine.read_bytes())
            fresh.rename(theirs)


class Authority:
    """Signs what it is asked to. `file` is its own certificate."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        own = _unsigned(self._name, self._name, self._key, NOW - DAY, NOW + 30 * DAY)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        own = own.add_extension(_uses_of_authority(), critical=True)
        own = own.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    @property
    def client(self) -> ssl.SSLContext:
        """A client that trusts this authority, and no setting of ours."""
        return ssl.create_default_context(cafile=str(self.file))

    def issue(
        self,
        name: str = "node",
        host: str = HOST,
        begins: dt.datetime = NOW - DAY,
        ends: dt.datetime = NOW + 30 * DAY,
        password: bytes = b"",
    ) -> Pair:
        """A certificate for a host, and its key, which only its owner may read."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _unsigned(_name(name), self._name, key, begins, ends)
        made = made.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(
            key.private_bytes(
                Encoding.PEM,
                PrivateFormat.PKCS8,
                BestAvailableEncryption(password) if password else NoEncryption(),
            )
        )
        return pair


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begins: dt.datetime,
    ends: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _uses_of_authority() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
