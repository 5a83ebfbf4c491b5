"""Fuzzes the file in which the SDK keeps what is unsent: what it holds, or `StoreFailed`; never another error."""

import asyncio
import sqlite3
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a program, it finds `fuzz`

from fuzz.loop import Fuzzer, main
from posthouse.client.errors import StoreFailed
from posthouse.client.store import Loaded, Store
from posthouse.protocol.codec import decode_client, encode

BETWEEN = b"\0"
"""Inputs that begin so are values, each for the next place in a well-made file; others are files as they are."""

_FOLDER = TemporaryDirectory(prefix="posthouse-fuzz-")
_FILE = Path(_FOLDER.name) / "outbox.db"
_FACTS = ("user", "device", "epoch", "resume_token", "clock_offset_ms", "listed")


def check(data: bytes) -> None:
    for old in Path(_FOLDER.name).iterdir():
        old.unlink()
    if data.startswith(BETWEEN):
        _write(data[1:].split(BETWEEN))
    else:
        _FILE.write_bytes(data)
    try:
        loaded = asyncio.run(_load())
    except StoreFailed as error:
        assert str(_FILE) in str(error)
        return
    for send in loaded.sends:
        assert decode_client(encode(send)) == send
    saved = loaded.saved
    assert all(isinstance(getattr(saved, name), str) for name in _FACTS[:4])
    assert isinstance(saved.clock_offset_ms, int)
    assert all(isinstance(log, str) and isinstance(seq, int) for log, seq in saved.positions.items())


async def _load() -> Loaded:
    store = Store(_FILE, lambda items, error: None)
    try:
        return await store.open()
    finally:
        store._release()
        store._thread.shutdown(wait=True)


def _write(values: list[bytes]) -> None:
    """The values become facts, then a send, then a position; as text, or as bytes where they are none."""
    _FILE.write_bytes(_EMPTY)
    with sqlite3.connect(_FILE) as db:
        db.execute("PRAGMA synchronous=OFF")
        told = [_value(each) for each in values]
        db.executemany("INSERT INTO facts VALUES (?, ?)", zip(_FACTS, told, strict=False))
        for number, send in enumerate(told[len(_FACTS) :: 2]):
            db.execute("INSERT INTO outbox (client_id, send) VALUES (?, ?)", (str(number), send))
        for number, seq in enumerate(told[len(_FACTS) + 1 :: 2]):
            db.execute("INSERT INTO positions VALUES (?, ?)", (f"log{number}", seq))
    db.close()


def _value(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _well_made() -> bytes:
    _write(_VALUES)
    made = _FILE.read_bytes()
    _FILE.unlink()
    return made


def _empty() -> bytes:
    asyncio.run(_load())
    made = _FILE.read_bytes()
    _FILE.unlink()
    return made


_EMPTY = _empty()
_SEND = b'{"t":"send","conv":"lounge","client_id":"k1","made_at":1767225600000,"body":{"text":"hello"}}'
_VALUES = [b"ann", b"phone", b"e1", b"token", b"-250", b"1", _SEND, b"7"]
SEEDS = [
    b"",
    b"no database at all",
    _well_made(),
    BETWEEN + BETWEEN.join(_VALUES),
    BETWEEN + BETWEEN.join([*_VALUES, _SEND, b"9007199254740991"]),
]
WORDS = [
    BETWEEN, _SEND, b"\xff", b"\xc3\x28", b"-", b"1e5", b"x", b'{"t":"send"}', b'"body":', b"[" * 3_000, b"\\ud800",
    b"SQLite format 3\0", b"CREATE TABLE", b"outbox", b"\x00\x00\x00\x63", "٣".encode(),
]  # fmt: skip

FUZZER = Fuzzer("outbox_files", check, ("posthouse.client.store",), SEEDS, WORDS, cost=10)


if __name__ == "__main__":
    sys.exit(main(FUZZER))
