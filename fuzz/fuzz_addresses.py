"""Fuzzes addresses: of Redis and Valkey, of a PostgreSQL, of a cluster in the SDK: what they mean, or `Invalid…`."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.client import endpoints
from posthouse.client.errors import InvalidArgument
from posthouse.storage.engines.postgres.hosts import hosts_of, place_of
from posthouse.valkey import address

SECRET = "hunter2"


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    _check_valkey(text)
    _check_client(text)
    _check_postgres(text)


def _check_valkey(text: str) -> None:
    try:
        found = address.parse(text)
    except address.InvalidAddress as error:
        is_password = text.count(SECRET) == 1 and f":{SECRET}@" in text
        assert not (is_password and SECRET in str(error)), "a refusal shows the password"
        return
    assert found.places
    assert all(0 < place.port < 65_536 and place.host for place in found.places)
    assert 0 <= found.database < 100_000
    assert found.mode != "sentinel" or found.name
    shown = str(found)
    assert address.parse(shown).places == found.places, f"{shown} names other servers"


def _check_client(text: str) -> None:
    try:
        (found,) = endpoints.parse_addresses(text)
    except InvalidArgument:
        return
    assert found.api.startswith(("http://", "https://"))
    assert found.fallback.url.startswith(("ws://", "wss://"))
    assert endpoints.parse_address(found.api).asks
    assert endpoints.api_of(found.fallback.url).startswith(("http://", "https://"))


def _check_postgres(text: str) -> None:
    """Of what the configuration lets through."""
    try:
        urlsplit(text)
    except ValueError:
        return
    if not text.startswith(("postgresql://", "postgres://")):
        return
    hosts = hosts_of(text)
    assert hosts
    for host in hosts:
        assert place_of(host.dsn) == host.name


SEEDS = [
    b"redis://user:hunter2@host:6379/0",
    b"rediss+sentinel://user:hunter2@h1:26379,h2:26379/name?sentinel-user=u&sentinel-password=hunter2",
    b"valkeys+cluster://:hunter2@[::1]:7000,h2?ca=/a.pem&cert=c&key=k&verify=no",
    b"redis://h?db=3",
    b"https://chat.example:8443/base",
    b"ws://127.0.0.1:8080/v1/ws",
    b"chat.example",
    b"postgresql://user:hunter2@h1:5432,h2:5433/posthouse?sslmode=require",
    b"postgres:///posthouse?host=/run/postgresql",
]
WORDS = [
    b"redis://", b"rediss://", b"+sentinel", b"+cluster", b"valkey", b"postgresql://", b"http://", b"wss://", b"@",
    b":", b"/", b",", b"?", b"&", b"=", b"#", b"[", b"]", b"[::1]", b"%", b"%2f", b"%00", b"\x00", b"\xff", b"\n", b" ",
    b"\t", "٣".encode(), "²".encode(), "℀".encode(), b"db=", b"verify=", b"/v1/ws", b"//",
]  # fmt: skip

MODULES = (
    "posthouse.valkey.address",
    "posthouse.client.endpoints",
    "posthouse.storage.engines.postgres.hosts",
)
FUZZER = Fuzzer("addresses", check, MODULES, SEEDS, WORDS, size_max=2_000)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
