"""What was measured: the records in docs/proof, as much of them as the page shows."""

from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from posthouse.testing.records import Record, decoded

R = TypeVar("R")


class Simulated(msgspec.Struct, frozen=True):
    """Seeds from `first` on, each a story of a whole cluster (`posthouse sim`)."""

    first: int
    seeds: int
    sends: int
    acked: int
    deliveries: int
    faults: int
    virtual_s: int
    failed_seeds: list[int]


class Missed(msgspec.Struct, frozen=True):
    """A safeguard that was taken out, and who noticed (`posthouse mutants`). `seeds`: 0 where a test did."""

    name: str
    caught_by: str
    seeds: int


class Broken(msgspec.Struct, frozen=True):
    """A scenario and what clients noticed of it (`posthouse chaos`)."""

    scenario: str
    reason: str
    runs: int
    acked: int
    lost: int
    duplicated: int
    reordered: int
    pause_p50_s: float | None
    pause_p99_s: float | None
    pause_max_s: float | None
    budget_s: float
    breaches: list[str]
    verdict: Literal["pass", "fail", "skipped"]


class Soaked(msgspec.Struct, frozen=True):
    """Traffic on real nodes for minutes or hours (`posthouse soak`)."""

    database: str
    nodes: int
    minutes: float
    per_s: float
    acked: int
    deliveries: int
    lost: int
    duplicated: int
    reordered: int
    overflows: int
    verdict: Literal["pass", "fail"]


class Judged(msgspec.Struct, frozen=True):
    """A figure of a benchmark beside what it must reach; `how`: at most, at least or below."""

    figure: str
    value: float | None
    how: str
    limit: float
    reached: bool


class Measured(msgspec.Struct, frozen=True):
    """A benchmark, by the words that run it (`posthouse bench`). `broken`: checks that failed, and how often."""

    benchmark: str
    limits: list[Judged]
    broken: dict[str, int]


class Proof(NamedTuple):
    """All records, the newest of each kind last; none where it was not run."""

    sim: list[Record[Simulated]]
    mutants: list[Record[Missed]]
    chaos: list[Record[Broken]]
    soak: list[Record[Soaked]]
    bench: list[Record[Measured]]


def load(folder: Path) -> Proof:
    """The records in a folder. Raises `posthouse.testing.records.Malformed`."""
    return Proof(
        sim=_read(folder, "sim", Simulated),
        mutants=_read(folder, "mutants", Missed),
        chaos=_read(folder, "chaos", Broken),
        soak=_read(folder, "soak", Soaked),
        bench=_read(folder, "bench", Measured),
    )


def _read(folder: Path, name: str, row: type[R]) -> list[Record[R]]:
    file = folder / f"{name}.json"
    return decoded(file.read_bytes(), row, str(file)) if file.exists() else []


def rows(records: list[Record[R]]) -> list[R]:
    """Those of all records."""
    return [row for record in records for row in record.rows]
