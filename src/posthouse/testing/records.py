"""What a run leaves behind for who comes later: its rows, with when, where and by which version they were made.

A file holds several records, the newest last. A row that is made again leaves the older record that had it, so that
part of a whole can be repeated, and every row stands under what is true of it.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import psutil

from posthouse.kit.clock import Clock, SystemClock
from posthouse.testing.version import described

R = TypeVar("R")
Row = dict[str, Any]


class Machine(msgspec.Struct, frozen=True):
    """Where it was run. `load_before` and `load_after`: over 1, 5 and 15 minutes."""

    cpus: int
    memory_gib: float
    system: str
    load_before: tuple[float, ...]
    load_after: tuple[float, ...]
    versions: dict[str, str]


class Record(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """The rows of one run. `made_at` is UTC, `version` is `described`, `options` are what it was asked for."""

    made_at: str
    version: str
    machine: Machine
    options: dict[str, Any]
    rows: list[R]


class Malformed(ValueError):
    """A file does not hold records; the message names it and what is wrong."""


def decoded(data: bytes, row: type[R], name: str) -> list[Record[R]]:
    """The records in a file called `name`. Raises `Malformed`."""
    try:
        return msgspec.json.decode(data, type=list[Record[row]])  # type: ignore[valid-type]
    except msgspec.DecodeError as error:
        raise Malformed(f"{name} does not hold records: {error}") from None


def encoded(records: Sequence[Record[Row]]) -> bytes:
    """The file that holds them."""
    return msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n"


def merged(before: Sequence[Record[Row]], now: Record[Row], key: str) -> list[Record[Row]]:
    """The older records without the rows that were made again: those with the same value of `key`. Then `now`."""
    again = [row.get(key) for row in now.rows]
    kept = [
        msgspec.structs.replace(record, rows=[row for row in record.rows if row.get(key) not in again])
        for record in before
    ]
    return [*(record for record in kept if record.rows), now]


class Recorder:
    """Makes the record of one run, which begins when this is made, and keeps it in `file` if there is one.

    Written anew after each row, so that what was found outlives whatever comes then. Raises `Malformed` at once when
    the file holds something else, and `OSError` when it cannot be written.
    """

    def __init__(
        self,
        file: Path | None,
        key: str,
        options: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._file = file
        self._key = key
        self._options = dict(options)
        self._versions = {"python": platform.python_version(), **(versions or {})}
        self._clock = clock or SystemClock()
        self._version = described()
        self._load_before = _load()
        self._rows: dict[object, Row] = {}
        self._before = _read(file) if file is not None else []

    def put(self, row: Row) -> None:
        """One more row; it replaces the one with the same key."""
        self._rows[row[self._key]] = row
        if self._file is not None:
            write_whole(self._file, encoded(self.records()))

    def records(self) -> list[Record[Row]]:
        """What the file holds now."""
        return merged(self._before, self.record(), self._key)

    def record(self) -> Record[Row]:
        """As it is now."""
        return Record(
            made_at=_utc(self._clock.now_ms()),
            version=self._version,
            machine=self._machine(),
            options=self._options,
            rows=list(self._rows.values()),
        )

    def _machine(self) -> Machine:
        return Machine(
            cpus=os.cpu_count() or 1,
            memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            load_before=self._load_before,
            load_after=_load(),
            versions=self._versions,
        )


def _read(file: Path) -> list[Record[Row]]:
    file.parent.mkdir(parents=True, exist_ok=True)
    return decoded(file.read_bytes(), Row, str(file)) if file.exists() else []


def write_whole(file: Path, data: bytes) -> None:
    """Or not at all: a run may be ended at any moment. What is no ordinary file is written to as it is."""
    if file.exists() and not file.is_file():
        file.write_bytes(data)
        return
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(data)
    new.replace(file)


def _load() -> tuple[float, ...]:
    return tuple(round(each, 2) for each in os.getloadavg())


def _utc(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
