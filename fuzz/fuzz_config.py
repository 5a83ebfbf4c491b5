"""Fuzzes the configuration: what is loaded can be shown and loaded again, or `ConfigError`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.app.config import ConfigError, load, render, sample

_FOLDER = TemporaryDirectory(prefix="posthouse-fuzz-")
_FILE = Path(_FOLDER.name) / "posthouse.toml"


def check(data: bytes) -> None:
    _FILE.write_bytes(data)
    try:
        loaded = load(_FILE)
    except ConfigError:
        return
    render(loaded.config, loaded.origins)


SEEDS = [
    b"",
    sample().encode(),
    sample().replace("# ", "").encode(),
    b"[listen]\nport = 8080\nhost = '127.0.0.1'\n",
    b"[apps.acme]\napi_key_hashes = []\n[[apps.acme.keys]]\nkid = '1'\nalg = 'HS256'\nsecret = '"
    + b"x" * 40
    + b"'\n",
]
WORDS = [
    b"[",
    b"]",
    b"[[",
    b"=",
    b"\n",
    b"'",
    b'"',
    b'"""',
    b".",
    b"#",
    b"{",
    b"}",
    b"true",
    b"1979-05-27T07:32:00Z",
    b"inf",
    b"nan",
    b"0x",
    b"[apps.",
    b"\x00",
    b"\xff",
    b"\\u0000",
    b"\\ud800",
    b"port = ",
    b"[listen]\n",
    b"a = " + b"[" * 500,
]

FUZZER = Fuzzer("config", check, ("posthouse.app.config",), SEEDS, WORDS, size_max=20_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
