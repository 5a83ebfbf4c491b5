"""Fuzzes a node's file of secrets, and apps' signing keys in any form: usable keys, or the documented error."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from fuzz.seeds import JSON_WORDS
from posthouse.app import secrets
from posthouse.auth.jwk import private_jwk, public_jwk
from posthouse.auth.keys import Algorithm, InvalidKey, SigningKey
from spec.golden import tokens

_FOLDER = TemporaryDirectory(prefix="posthouse-fuzz-")
_FILE = Path(_FOLDER.name) / secrets.FILE


def check(data: bytes) -> None:
    _check_file(data)
    text = data.decode("utf-8", "replace")
    for algorithm in Algorithm:
        for field in ("secret", "public_key", "private_key"):
            _check_key(SigningKey(kid="k", algorithm=algorithm, **{field: text}))


def _check_file(data: bytes) -> None:
    _FILE.write_bytes(data)
    try:
        found = secrets.load(Path(_FOLDER.name))
    except secrets.SecretsError as error:
        assert str(_FILE) in str(error)
        return
    assert all(
        isinstance(each, str) for each in (found.kid, found.secret, found.api_key, found.resume_secret)
    )


def _check_key(key: SigningKey) -> None:
    for made in (public_jwk, private_jwk):
        try:
            assert made(key).algorithm_name == key.algorithm.value
        except InvalidKey as error:
            given = key.secret + key.public_key + key.private_key
            assert len(given) < 20 or given not in str(error), "a refusal shows the key"


_PUBLIC = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA%s=\n-----END PUBLIC KEY-----\n" % (
    tokens.PUBLIC_KEY.replace("-", "+").replace("_", "/").encode()
)
_PRIVATE = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI%s\n-----END PRIVATE KEY-----\n" % (b"A" * 43)
SEEDS = [
    b'{"kid":"k-1","secret":"%s","api_key":"ph_x","resume_secret":"%s"}' % (b"s" * 43, b"r" * 43),
    tokens.SECRET.encode(),
    tokens.PUBLIC_KEY.encode(),
    _PUBLIC,
    _PRIVATE,
    b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ user@host",
]  # fmt: skip
WORDS = [
    *JSON_WORDS, b"-----BEGIN ", b"-----END ", b"PUBLIC KEY-----\n", b"PRIVATE KEY-----\n", b"ENCRYPTED ", b"RSA ",
    b"EC ",
    b"CERTIFICATE", b"ssh-rsa ", b"=", b"\n", b"-", b"_", b"A" * 43, b"MCowBQYDK2Vw", b"MCowBQYDK2VuAyEA", b'"secret":',
]  # fmt: skip

FUZZER = Fuzzer("keys", check, ("posthouse.auth.jwk", "posthouse.app.secrets"), SEEDS, WORDS, size_max=6_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
