"""The benchmarks of docs/guarantees.md: what was measured beside what must be reached."""

from collections.abc import Iterator, Sequence

import msgspec

from posthouse.load.bench.limits import LIMITS, Limit
from posthouse.testing.records import Record
from spec.promises.making import NOT_RUN, made
from spec.promises.recorded import Judged, Measured, rows
from spec.promises.tables import table

_HEAD = ("benchmark", "figure", "measured", "limit", "reached")


def chapter(records: Sequence[Record[Measured]]) -> Iterator[str]:
    """Of benchmarks with their default sizes; others have no limit."""
    yield "### Benchmarks"
    yield "What one node, and a cluster, must reach ([benchmarks.md](benchmarks.md)); what falls short says so."
    kept = [record for record in map(_limited, records) if record.rows]
    found = {row.benchmark: row for row in rows(kept)}
    if not found:
        yield NOT_RUN
        return
    yield table(_HEAD, [line for name in LIMITS for line in _lines(name, found.get(name))])
    yield from (f"**`{row.benchmark}`: {_counted(row.broken)}.**" for row in found.values() if row.broken)
    yield made(kept, lambda row: f"`{row.benchmark}`")


def _limited(record: Record[Measured]) -> Record[Measured]:
    return msgspec.structs.replace(record, rows=[row for row in record.rows if row.benchmark in LIMITS])


def _lines(name: str, row: Measured | None) -> Iterator[list[str]]:
    if row is not None:
        yield from ([f"`{name}`", *_judged(each)] for each in row.limits)
    else:
        yield from (
            [f"`{name}`", f"`{limit.figure}`", "not run", _wanted(limit), ""] for limit in LIMITS[name]
        )


def _judged(each: Judged) -> list[str]:
    value = "nothing" if each.value is None else f"{each.value:,.6g}"
    return [f"`{each.figure}`", value, f"{each.how} {each.limit:,.6g}", "yes" if each.reached else "**no**"]


def _wanted(limit: Limit) -> str:
    return f"{limit.how} {f'`{limit.figure}_max`' if limit.at is None else f'{limit.at:g}'}"


def _counted(broken: dict[str, int]) -> str:
    return ", ".join(f"{check} {count}" for check, count in broken.items())
