"""One statement for many rows.

Every step of a statement lets go of Python's global lock and must win it back from a busy event loop; a statement
per row does that for each row. Sizes are powers of two, so that few distinct statements are prepared.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import apsw

Row = Iterable[Any]

ROWS_MAX = 128
"""Times the widest row this stays below SQLite's 32,766 parameters."""


class Bulk:
    """A statement in which `:rows` stands for a VALUES list of rows of `width` columns."""

    def __init__(self, sql: str, width: int) -> None:
        self._sql = sql
        self._row = f"({','.join('?' * width)})"
        self._sized = cache(self._of_size)

    def run(self, connection: apsw.Connection, rows: Sequence[Row]) -> Iterator[Any]:
        """Run for all rows, in order; yields what the statement returns."""
        for part in _parts(rows):
            yield from connection.execute(self._sized(len(part)), tuple(chain.from_iterable(part)))

    def write(self, connection: apsw.Connection, rows: Sequence[Row]) -> None:
        """Run for all rows a statement that returns nothing."""
        for part in _parts(rows):
            connection.execute(self._sized(len(part)), tuple(chain.from_iterable(part)))

    def _of_size(self, rows: int) -> str:
        return self._sql.replace(":rows", f"VALUES {','.join([self._row] * rows)}")


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in slices of falling powers of two."""
    at, left = 0, len(rows)
    while left:
        size = min(ROWS_MAX, 1 << (left.bit_length() - 1))
        yield rows[at : at + size]
        at, left = at + size, left - size
