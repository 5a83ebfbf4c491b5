"""How records were made: when, by which version, on which machine, and what was asked for."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from posthouse.testing.records import Record

R = TypeVar("R")
NOT_RUN = "Not run: run `make proof`."


def made(records: Sequence[Record[R]], name: Callable[[R], str]) -> str:
    """A sentence; where rows come from several runs, one of each with the rows that it made."""
    if len(records) == 1:
        return f"Made {_how(records[0])}."
    return "\n".join(f"- Made {_how(record)}: {', '.join(map(name, record.rows))}." for record in records)


def _how(record: Record[R]) -> str:
    machine = record.machine
    programs = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    asked = ", ".join(f"{name} {value}" for name, value in record.options.items())
    return (
        f"{record.made_at} with Posthouse {record.version} on a machine with {machine.cpus} cores and "
        f"{machine.memory_gib:g} GiB, {machine.system} ({programs}){asked and '; '}{asked}"
    )
